-- Purpose: record that a running run has made progress (its sensor polls this time), and count the received pages.
-- Parameters: run_id, pages (integer to add), now.
-- Locks: the run's row.
-- Repeatable: called once in each transaction that stages rows.
UPDATE amop.device_sync_run
SET pages = pages + %(pages)s, progress_at = greatest(progress_at, %(now)s)
WHERE id = %(run_id)s AND status = 'running'
