-- Purpose: how many records the present pass of a scan has brought, and of how many SIMs.
-- Parameters: run_id (bigint), scan_pass (integer).
-- Locks: none beyond reading.
-- Repeatable: reads only.
SELECT
    count(*) AS records,
    count(DISTINCT iccid) AS sims
FROM amop.device_staging
WHERE run_id = %(run_id)s AND scan_pass = %(scan_pass)s
