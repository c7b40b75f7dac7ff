-- Purpose: return the figures that must add up: SIMs listed = merged + quarantined, usage records = staged +
--   quarantined.
-- Parameters: run_id, service_provider_id.
-- Locks: none beyond reading.
-- Repeatable: reads only.
SELECT
    run.devices_seen,
    (
        SELECT count(DISTINCT staged.iccid) FROM amop.device_staging AS staged
        WHERE
            staged.run_id = run.id
            AND EXISTS (
                SELECT 1 FROM amop.device AS device
                WHERE device.service_provider_id = run.service_provider_id AND device.iccid = staged.iccid
            )
    ) AS devices_merged,
    (
        SELECT count(*) FROM amop.device_quarantine AS rejected
        WHERE
            rejected.run_id = run.id AND rejected.kind = 'device' AND rejected.source IS DISTINCT FROM 'device_details'
            AND NOT EXISTS (
                SELECT 1 FROM amop.device_staging AS staged
                WHERE staged.run_id = run.id AND staged.iccid = rejected.record_key
            )
    ) AS devices_quarantined,
    (
        SELECT count(*) FROM amop.device_quarantine AS rejected
        WHERE
            rejected.run_id = run.id AND rejected.kind = 'usage'
            AND rejected.resolution IS DISTINCT FROM 'merged by retry'
    ) AS usage_quarantined,
    (
        SELECT count(*) FROM amop.device_usage_staging AS usage WHERE usage.run_id = run.id
    ) AS usage_staged
FROM amop.device_sync_run AS run
WHERE run.id = %(run_id)s AND run.service_provider_id = %(service_provider_id)s
