-- Purpose: let one migration at a time run in a database: wait for the lock and hold it until the connection closes.
-- Parameters: lock_key.
-- Locks: a session-level advisory lock.
-- Repeatable: the connection that holds it may take it again.
SELECT pg_advisory_lock(%(lock_key)s::bigint)
