-- Purpose: return what the staging sensor polls: whether the list is complete, the number of work rows left, the last
--   progress, and the time of the reading by the same clock.
-- Parameters: run_id.
-- Locks: none beyond reading.
-- Repeatable: reads only.
SELECT
    run.status,
    run.error,
    run.pages,
    run.list_is_complete,
    run.progress_at,
    (SELECT count(*) FROM amop.device_usage_to_process AS work WHERE work.run_id = run.id) AS work_rows_left,
    clock_timestamp() AS read_at
FROM amop.device_sync_run AS run
WHERE run.id = %(run_id)s
