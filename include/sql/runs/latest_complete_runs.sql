-- Purpose: return the starts of the last complete sync and the last complete full sync of a provider (exact, or as
--   whole as the carrier allows), and whether a SIM is missing whose state only another full list can determine.
-- Parameters: service_provider_id (bigint).
-- Locks: none beyond reading.
-- Repeatable: reads only.
SELECT
    max(started_at) AS last_complete_start,
    max(started_at) FILTER (WHERE is_full AND (list_is_exact OR NOT list_is_whole)) AS last_full_start,
    (
        SELECT count(*) > 0 FROM amop.device_missing AS missing
        INNER JOIN amop.device AS device ON missing.device_id = device.id
        WHERE device.service_provider_id = %(service_provider_id)s
    ) AS has_missing_devices
FROM amop.device_sync_run
WHERE service_provider_id = %(service_provider_id)s AND status = 'complete' AND replayed_run_id IS NULL
