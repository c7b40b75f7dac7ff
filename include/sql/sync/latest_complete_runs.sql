-- Purpose: when the last complete sync and the last complete full sync of a provider began.
-- Parameters: service_provider_id (bigint).
-- Locks: none beyond reading.
-- Repeatable: reads only.
SELECT
    max(started_at) AS last_complete_start,
    max(started_at) FILTER (WHERE is_full AND list_is_exact) AS last_full_start
FROM amop.device_sync_run
WHERE service_provider_id = %(service_provider_id)s AND status = 'complete'
