-- Purpose: how many SIMs of the fleet an exact full list no longer names, and how large the fleet is.
-- Parameters: run_id, service_provider_id.
-- Locks: none beyond reading.
-- Repeatable: reads only.
SELECT
    count(*) AS fleet,
    count(*) FILTER (
        WHERE NOT EXISTS (
            SELECT 1 FROM amop.device_staging AS staged
            WHERE staged.run_id = %(run_id)s AND staged.iccid = device.iccid
        )
    ) AS vanished
FROM amop.device AS device
WHERE device.service_provider_id = %(service_provider_id)s AND device.is_active
