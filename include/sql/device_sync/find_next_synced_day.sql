-- Purpose: return the next local day on which a live or replayed sync of the provider read its SIMs.
-- Parameters: service_provider_id, time_zone, usage_date.
-- Locks: none beyond reading.
-- Repeatable: reads only.
SELECT
    (usage_as_of AT TIME ZONE %(time_zone)s)::date AS usage_date,
    max(usage_as_of) AS as_of
FROM amop.device_sync_run
WHERE
    service_provider_id = %(service_provider_id)s
    AND status = 'complete'
    AND (usage_as_of AT TIME ZONE %(time_zone)s)::date > %(usage_date)s
GROUP BY 1
ORDER BY 1
LIMIT 1
