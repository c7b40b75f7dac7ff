-- Purpose: put the real end of the claimed call where its claim stands.
-- Parameters: api_user.
-- Locks: the API user's row; the caller holds its advisory lock.
-- Repeatable: yes, a later end is put there: too slow at worst, never too fast.
UPDATE amop.carrier_api_user
SET recent_calls[cardinality(recent_calls)] = clock_timestamp()
WHERE api_user = %(api_user)s AND cardinality(recent_calls) > 0
