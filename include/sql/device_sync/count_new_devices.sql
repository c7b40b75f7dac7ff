-- Purpose: count the staged SIMs that the provider did not have before.
-- Parameters: run_id, service_provider_id.
-- Locks: none beyond reading.
-- Repeatable: reads only.
SELECT count(DISTINCT staged.iccid) AS devices
FROM amop.device_staging AS staged
WHERE
    staged.run_id = %(run_id)s
    AND NOT EXISTS (
        SELECT 1 FROM amop.device AS device
        WHERE device.service_provider_id = %(service_provider_id)s AND device.iccid = staged.iccid
    )
