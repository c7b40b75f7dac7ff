-- Purpose: is the usage that a run staged still there: without it the zones of a SIM could not be added up.
-- Parameters: run_id.
-- Locks: none beyond reading.
-- Repeatable: reads only.
SELECT count(*) AS records
FROM amop.device_usage_staging
WHERE run_id = %(run_id)s
