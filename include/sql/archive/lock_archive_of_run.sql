-- Purpose: wait for and take the lock of a run's archive until the transaction ends: one process archives a run at a
--   time, and the run's row stays unlocked for the clean-up tasks.
-- Parameters: run_id.
-- Locks: a transaction-level advisory lock of class 7002.
-- Repeatable: a session may take it again.
SELECT pg_advisory_xact_lock(7002, %(run_id)s::integer)
