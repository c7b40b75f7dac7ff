-- Purpose: reopen a failed run whose task an operator cleared; it resumes where its ledger stopped.
-- Parameters: run_id, now.
-- Locks: the run's row; the unique index refuses it while another run holds the provider.
-- Repeatable: only a failed run with staging is reopened.
UPDATE amop.device_sync_run
SET status = 'running', error = NULL, ended_at = NULL, attempt = attempt + 1, progress_at = %(now)s
WHERE id = %(run_id)s AND status = 'failed' AND staging_removed_at IS NULL
