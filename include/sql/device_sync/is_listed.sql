-- Purpose: return whether the device list of a run contains a SIM.
-- Parameters: run_id, iccid.
-- Locks: none beyond reading.
-- Repeatable: reads only.
SELECT count(*) > 0 AS is_listed
FROM amop.device_staging
WHERE run_id = %(run_id)s AND iccid = %(iccid)s
