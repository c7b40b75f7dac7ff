-- Purpose: keep the summary with its run.
-- Parameters: run_id, summary (jsonb).
-- Locks: the run's row.
-- Repeatable: writes the same again.
UPDATE amop.device_sync_run
SET summary = %(summary)s
WHERE id = %(run_id)s
