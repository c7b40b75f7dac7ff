-- Purpose: say that a running run has moved on (its sensor watches this stamp) and count the pages received.
-- Parameters: run_id, pages (integer to add), now.
-- Locks: the run's row.
-- Repeatable: called once in each transaction that stages something.
UPDATE amop.device_sync_run
SET pages = pages + %(pages)s, progress_at = greatest(progress_at, %(now)s)
WHERE id = %(run_id)s AND status = 'running'
