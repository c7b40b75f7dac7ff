-- Purpose: record the counts of the usage merge, in the transaction of the merge.
-- Parameters: run_id, usage_updated, usage_unconfirmed, now.
-- Locks: the run's row.
-- Repeatable: the merge runs once per run (usage_merged_at).
UPDATE amop.device_sync_run
SET
    usage_updated = %(usage_updated)s,
    usage_unconfirmed = %(usage_unconfirmed)s,
    usage_merged_at = %(now)s,
    progress_at = %(now)s
WHERE id = %(run_id)s AND status = 'running'
