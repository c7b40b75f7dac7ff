-- Purpose: try to take the lock of a run's carrier reads, which a process that reads the run holds.
-- Parameters: run_id (bigint).
-- Locks: the advisory lock of `runs/lock_run_reads`, if it is free, until the transaction ends; waits for nothing.
-- Repeatable: the same transaction may take it again.
SELECT pg_try_advisory_xact_lock(
    hashtextextended('amop carrier reads of run ' || %(run_id)s::bigint, 0)
) AS is_free
