-- Purpose: deactivate the SIMs missing from the exact full lists of two complete syncs in a row; their rows and values
--   stay. A SIM whose record is quarantined counts as listed.
-- Parameters: run_id, service_provider_id, now.
-- Locks: the rows that change.
-- Repeatable: an inactive SIM is not written again.
UPDATE amop.device
SET is_active = false, modified_at = %(now)s
FROM amop.device_missing AS missing
WHERE
    device.service_provider_id = %(service_provider_id)s
    AND device.is_active
    AND device.id = missing.device_id
    AND missing.run_id <> %(run_id)s
    AND missing.run_id NOT IN (
        SELECT first_run.id FROM amop.device_sync_run AS first_run
        WHERE first_run.service_provider_id = %(service_provider_id)s AND first_run.status <> 'complete'
    )
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
