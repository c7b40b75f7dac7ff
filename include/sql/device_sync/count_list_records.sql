-- Purpose: count the records and the SIMs that the current pass of the list scan has staged.
-- Parameters: run_id, scan_pass.
-- Locks: none beyond reading.
-- Repeatable: reads only.
SELECT
    count(*) AS records,
    count(DISTINCT iccid) AS sims
FROM amop.device_staging
WHERE run_id = %(run_id)s AND scan_pass = %(scan_pass)s
