-- Purpose: one exporter of a run at a time; the run's row stays free for the clean-up beside it.
-- Parameters: run_id (bigint).
-- Locks: a transaction-level advisory lock of class 7002.
-- Repeatable: a session may take it again.
SELECT pg_advisory_xact_lock(7002, %(run_id)s::integer)
