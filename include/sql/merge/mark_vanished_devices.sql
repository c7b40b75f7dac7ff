-- Purpose: SIMs that an exact full list no longer names keep their row and values, and stop being active.
-- Parameters: run_id, service_provider_id, now.
-- Locks: the rows that change.
-- Repeatable: an inactive SIM is not written again. A SIM whose record is in quarantine has not vanished.
UPDATE amop.device
SET is_active = false, modified_at = %(now)s
WHERE
    service_provider_id = %(service_provider_id)s
    AND is_active
    AND NOT EXISTS (
        SELECT 1 FROM amop.device_staging AS staged
        WHERE staged.run_id = %(run_id)s AND staged.iccid = device.iccid
    )
    AND NOT EXISTS (
        SELECT 1 FROM amop.device_quarantine AS rejected
        WHERE
            rejected.run_id = %(run_id)s AND rejected.kind = 'device' AND rejected.record_key = device.iccid
    )
