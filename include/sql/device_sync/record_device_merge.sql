-- Purpose: record the counts of the device merge, in the transaction of the merge.
-- Parameters: run_id, devices_inserted, devices_updated, devices_vanished, devices_missing, now.
-- Locks: the run's row.
-- Repeatable: the merge runs once per run (devices_merged_at).
UPDATE amop.device_sync_run
SET
    devices_inserted = %(devices_inserted)s,
    devices_updated = %(devices_updated)s,
    devices_vanished = %(devices_vanished)s,
    devices_missing = %(devices_missing)s,
    devices_merged_at = %(now)s,
    progress_at = %(now)s
WHERE id = %(run_id)s AND status = 'running'
