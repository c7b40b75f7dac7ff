-- Purpose: find a run of the same provider that was opened later and has merged: its data is newer.
-- Parameters: run_id, service_provider_id.
-- Locks: none beyond reading.
-- Repeatable: reads only.
SELECT
    id,
    dag_run_id,
    started_at
FROM amop.device_sync_run
WHERE
    service_provider_id = %(service_provider_id)s
    AND id > %(run_id)s
    AND (devices_merged_at IS NOT NULL OR usage_merged_at IS NOT NULL)
ORDER BY id DESC
LIMIT 1
