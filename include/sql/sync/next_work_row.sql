-- Purpose: the next read of a run: bulk usage first, then single SIMs, then details.
-- Parameters: run_id (bigint).
-- Locks: none beyond reading; lock_run lets one process at a time read for a run.
-- Repeatable: reads only.
SELECT *
FROM amop.device_usage_to_process
WHERE run_id = %(run_id)s AND kind <> 'device_list'
ORDER BY array_position(ARRAY['rate_plan_usage', 'device_usage', 'device_details'], kind), id
LIMIT 1
