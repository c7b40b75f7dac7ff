-- Purpose: a read is done: its work row moves to the list of what this run covered.
-- Parameters: work_row_id, now.
-- Locks: the work row.
-- Repeatable: moves nothing the second time.
WITH finished AS (
    DELETE FROM amop.device_usage_to_process
    WHERE id = %(work_row_id)s
    RETURNING run_id, kind, rate_plan_code, rate_plan_version, usage_type, iccid, page_number
)

INSERT INTO amop.device_usage_processed (
    run_id, kind, rate_plan_code, rate_plan_version, usage_type, iccid, pages, processed_at
)
SELECT
    run_id,
    kind,
    rate_plan_code,
    rate_plan_version,
    usage_type,
    iccid,
    page_number,
    %(now)s
FROM finished
ON CONFLICT DO NOTHING
