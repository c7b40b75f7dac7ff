-- Purpose: allow one load of reference data at a time: wait for the lock and hold it until the transaction ends.
-- Parameters: none.
-- Locks: a transaction-level advisory lock of class 7002.
-- Repeatable: a session may take it again.
SELECT pg_advisory_xact_lock(7002, 0)
