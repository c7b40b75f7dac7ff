-- Purpose: no process may call for a while: the carrier said so.
-- Parameters: api_user, seconds.
-- Locks: the API user's row.
-- Repeatable: a block is only ever made longer.
UPDATE amop.carrier_api_user
SET blocked_until = greatest(blocked_until, clock_timestamp() + make_interval(secs => %(seconds)s))
WHERE api_user = %(api_user)s
