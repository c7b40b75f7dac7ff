-- Purpose: count the SIMs missing from a run's full list that were read individually.
-- Parameters: run_id.
-- Locks: none beyond reading.
-- Repeatable: reads only.
SELECT count(*) AS reads
FROM amop.device_usage_processed
WHERE run_id = %(run_id)s AND kind = 'unlisted_device'
