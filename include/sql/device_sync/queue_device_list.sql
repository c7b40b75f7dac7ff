-- Purpose: insert the first work row of a run: its device list is not read yet.
-- Parameters: run_id.
-- Locks: none beyond the new row.
-- Repeatable: written once per run, and not again after the list is complete.
INSERT INTO amop.device_usage_to_process (run_id, kind)
SELECT
    id,
    'device_list'
FROM amop.device_sync_run
WHERE id = %(run_id)s AND NOT list_is_complete
ON CONFLICT DO NOTHING
