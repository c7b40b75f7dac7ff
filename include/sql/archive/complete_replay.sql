-- Purpose: end a replay as complete and store its summary.
-- Parameters: run_id, pages, summary (jsonb), now.
-- Locks: the run's row.
-- Repeatable: only a running run is ended.
UPDATE amop.device_sync_run
SET status = 'complete', error = NULL, pages = %(pages)s, summary = %(summary)s, ended_at = %(now)s
WHERE id = %(run_id)s AND status = 'running'
