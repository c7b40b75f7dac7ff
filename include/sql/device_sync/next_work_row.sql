-- Purpose: return the next read of a run: bulk usage first, then single SIMs, then details; reads that failed last.
-- Parameters: run_id.
-- Locks: none beyond reading; runs/lock_run_reads lets one process at a time read for a run.
-- Repeatable: reads only.
SELECT
    id,
    run_id,
    kind,
    rate_plan_code,
    rate_plan_version,
    usage_type,
    iccid,
    page_number,
    scan_pass,
    attempts
FROM amop.device_usage_to_process
WHERE run_id = %(run_id)s AND kind <> 'device_list'
ORDER BY attempts, array_position(ARRAY['rate_plan_usage', 'device_usage', 'device_details'], kind), id
LIMIT 1
