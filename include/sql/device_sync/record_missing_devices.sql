-- Purpose: record the active SIMs that are missing from an exact full list. A separate table keeps the device rows
--   unwritten. A SIM whose record is quarantined counts as listed.
-- Parameters: run_id, now; needs list_change of a full list in the same transaction.
-- Locks: none beyond the new rows.
-- Repeatable: the first run that missed a SIM is kept, unless that run failed or was refused.
INSERT INTO amop.device_missing AS known (device_id, run_id, missing_since)
SELECT
    device.id,
    %(run_id)s,
    %(now)s
FROM list_change AS unlisted
INNER JOIN amop.device AS device ON unlisted.device_id = device.id
WHERE
    NOT unlisted.is_listed
    AND device.is_active
    AND NOT EXISTS (
        SELECT 1 FROM amop.device_quarantine AS rejected
        WHERE
            rejected.run_id = %(run_id)s AND rejected.kind = 'device' AND rejected.iccid = device.iccid
            AND rejected.source IS DISTINCT FROM 'device_details'
    )
ON CONFLICT (device_id) DO UPDATE
SET run_id = excluded.run_id, missing_since = excluded.missing_since
WHERE known.run_id IN (
    SELECT first_run.id FROM amop.device_sync_run AS first_run
    WHERE first_run.status IN ('failed', 'refused')
)
