-- Purpose: reopen an ended run whose task an operator cleared; it resumes where its ledger stopped.
-- Parameters: run_id, now.
-- Locks: the run's row; the unique index refuses it while another run holds the provider.
-- Repeatable: only a failed run, or one that was refused after it had read something, is reopened, with its staging.
UPDATE amop.device_sync_run
SET status = 'running', error = NULL, ended_at = NULL, attempt = attempt + 1, progress_at = %(now)s
WHERE
    id = %(run_id)s
    AND (status = 'failed' OR (status = 'refused' AND pages > 0))
    AND staging_removed_at IS NULL
