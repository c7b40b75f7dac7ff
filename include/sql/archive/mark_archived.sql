-- Purpose: record that all answers of a run are archived.
-- Parameters: run_id, now.
-- Locks: the run's row.
-- Repeatable: the first time is kept.
UPDATE amop.device_sync_run
SET archived_at = coalesce(archived_at, %(now)s)
WHERE id = %(run_id)s
