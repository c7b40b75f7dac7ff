-- Purpose: remove from the missing SIMs those that are in this run's list, valid or quarantined, and those that are
--   inactive.
-- Parameters: run_id, service_provider_id.
-- Locks: the deleted rows.
-- Repeatable: deletes nothing the second time.
DELETE FROM amop.device_missing AS missing
USING amop.device AS device
WHERE
    missing.device_id = device.id
    AND device.service_provider_id = %(service_provider_id)s
    AND (
        NOT device.is_active
        OR EXISTS (
            SELECT 1 FROM amop.device_staging AS staged
            WHERE staged.run_id = %(run_id)s AND staged.iccid = device.iccid
        )
        OR EXISTS (
            SELECT 1 FROM amop.device_quarantine AS rejected
            WHERE
                rejected.run_id = %(run_id)s AND rejected.kind = 'device' AND rejected.iccid = device.iccid
                AND rejected.source IS DISTINCT FROM 'device_details'
        )
    )
