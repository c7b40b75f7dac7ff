-- Purpose: wait until no other process calls as this API user: one call at a time across processes and machines.
-- Parameters: api_user (text).
-- Locks: a session-level advisory lock, released by unlock_api_user or by the end of the session, however it ends.
-- Repeatable: the caller must unlock as often as it locks.
SELECT pg_advisory_lock(hashtextextended('amop carrier call ' || %(api_user)s, 0))
