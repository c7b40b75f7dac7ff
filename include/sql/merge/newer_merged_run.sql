-- Purpose: a run of the same provider that began later and has merged: what it brought is newer.
-- Parameters: run_id, service_provider_id, started_at.
-- Locks: none beyond reading.
-- Repeatable: reads only.
SELECT
    id,
    dag_run_id,
    started_at
FROM amop.device_sync_run
WHERE
    service_provider_id = %(service_provider_id)s
    AND (started_at, id) > (%(started_at)s, %(run_id)s)
    AND (devices_merged_at IS NOT NULL OR usage_merged_at IS NOT NULL)
ORDER BY started_at DESC
LIMIT 1
