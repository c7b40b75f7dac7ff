-- Purpose: store the summary of a run.
-- Parameters: run_id, summary (jsonb).
-- Locks: the run's row.
-- Repeatable: writes the same values again.
UPDATE amop.device_sync_run
SET summary = %(summary)s
WHERE id = %(run_id)s
