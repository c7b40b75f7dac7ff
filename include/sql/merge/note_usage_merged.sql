-- Purpose: note what the usage merge did, in its own transaction.
-- Parameters: run_id, usage_updated, now.
-- Locks: the run's row.
-- Repeatable: the merge runs once per run (usage_merged_at).
UPDATE amop.device_sync_run
SET usage_updated = %(usage_updated)s, usage_merged_at = %(now)s, progress_at = %(now)s
WHERE id = %(run_id)s AND status = 'running'
