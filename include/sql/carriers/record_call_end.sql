-- Purpose: record the end of the latest call, in place of its start.
-- Parameters: api_user (text).
-- Locks: the API user's row, within one statement; the caller holds the API user's advisory lock.
-- Repeatable: a later end replaces an earlier one.
UPDATE amop.carrier_api_user
SET recent_calls = recent_calls[1:cardinality(recent_calls) - 1] || clock_timestamp()
WHERE api_user = %(api_user)s
