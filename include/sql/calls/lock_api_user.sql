-- Purpose: wait until nobody else calls as this API user: single flight across processes and machines.
-- Parameters: api_user (text).
-- Locks: a session-level advisory lock, freed by unlock_api_user or by the end of the session, however it ends.
-- Repeatable: the caller unlocks as often as it locks.
SELECT pg_advisory_lock(hashtextextended('amop carrier call ' || %(api_user)s, 0))
