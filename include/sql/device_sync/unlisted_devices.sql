-- Purpose: return the active SIMs that a full list does not contain: first those that the full list before did not
--   contain either, then the last modified ones. A SIM whose record is quarantined counts as listed. Those that the run
--   has read individually are not returned again.
-- Parameters: run_id, service_provider_id, maximum_reads (of the whole run).
-- Locks: none beyond reading.
-- Repeatable: reads only.
SELECT device.iccid
FROM amop.device AS device
LEFT JOIN amop.device_missing AS missing ON device.id = missing.device_id
WHERE
    device.service_provider_id = %(service_provider_id)s
    AND device.is_active
    AND NOT EXISTS (
        SELECT 1 FROM amop.device_staging AS staged
        WHERE staged.run_id = %(run_id)s AND staged.iccid = device.iccid
    )
    AND NOT EXISTS (
        SELECT 1 FROM amop.device_quarantine AS rejected
        WHERE
            rejected.run_id = %(run_id)s AND rejected.kind = 'device' AND rejected.iccid = device.iccid
            AND rejected.source IS DISTINCT FROM 'device_details'
    )
    AND NOT EXISTS (
        SELECT 1 FROM amop.device_usage_processed AS single
        WHERE single.run_id = %(run_id)s AND single.kind = 'unlisted_device' AND single.iccid = device.iccid
    )
ORDER BY missing.device_id IS NULL ASC, device.modification_order DESC NULLS LAST, device.iccid ASC
LIMIT greatest(
    %(maximum_reads)s - (
        SELECT count(*) FROM amop.device_usage_processed AS single
        WHERE single.run_id = %(run_id)s AND single.kind = 'unlisted_device'
    ),
    0
)
