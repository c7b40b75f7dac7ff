-- Purpose: one migration at a time in a database: wait for, and take, the lock until the connection closes.
-- Parameters: lock_key (bigint).
-- Locks: a session-level advisory lock.
-- Repeatable: the connection that holds it may take it again.
SELECT pg_advisory_lock(%(lock_key)s)
