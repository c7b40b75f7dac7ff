-- Purpose: record that the carrier refuses to list SIMs that were last modified long ago.
-- Parameters: run_id.
-- Locks: the run's row.
-- Repeatable: writes the same value again.
UPDATE amop.device_sync_run
SET list_is_whole = false
WHERE id = %(run_id)s
