-- Purpose: let one process at a time read a run from the carrier, so that no page is requested or staged twice.
-- Parameters: run_id (bigint).
-- Locks: a session-level advisory lock, released by the end of the session, however it ends.
-- Repeatable: the same session may take it again.
SELECT pg_advisory_lock(hashtextextended('amop carrier reads of run ' || %(run_id)s::bigint, 0))
