-- Purpose: let an operator clear a failed sync task: its run goes on where its ledger stopped.
-- Parameters: run_id, now.
-- Locks: the run's row; the unique index refuses it while another run holds the provider.
-- Repeatable: only a failed run is opened again.
UPDATE amop.device_sync_run
SET status = 'running', error = NULL, ended_at = NULL, attempt = attempt + 1, progress_at = %(now)s
WHERE id = %(run_id)s AND status = 'failed' AND staging_removed_at IS NULL
