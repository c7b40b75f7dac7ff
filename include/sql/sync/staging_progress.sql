-- Purpose: what the sensor beside the sync looks at: is the list complete, how many work rows are left, is it moving.
-- Parameters: run_id (bigint).
-- Locks: none beyond reading.
-- Repeatable: reads only.
SELECT
    run.status,
    run.error,
    run.pages,
    run.list_is_complete,
    run.progress_at,
    (SELECT count(*) FROM amop.device_usage_to_process AS work WHERE work.run_id = run.id) AS work_rows_left
FROM amop.device_sync_run AS run
WHERE run.id = %(run_id)s
