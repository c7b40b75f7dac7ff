-- Purpose: take queue messages in one after another: wait for the lock and hold it until the transaction ends.
-- Parameters: none.
-- Locks: a transaction-level advisory lock of class 7013.
-- Repeatable: a session may take it again.
SELECT pg_advisory_xact_lock(7013, 0)
