-- Purpose: move the work row of a completed read to the list of what this run covered, with the carrier's words if it
--   refused the read for good.
-- Parameters: work_row_id, refusal and refusal_status (null: the read is complete), now.
-- Locks: the work row.
-- Repeatable: moves nothing the second time.
WITH finished AS (
    DELETE FROM amop.device_usage_to_process
    WHERE id = %(work_row_id)s
    RETURNING run_id, kind, rate_plan_code, rate_plan_version, usage_type, iccid, page_number, reason
)

INSERT INTO amop.device_usage_processed (
    run_id, kind, rate_plan_code, rate_plan_version, usage_type, iccid, pages, processed_at, reason, refusal,
    refusal_status
)
SELECT
    run_id,
    kind,
    rate_plan_code,
    rate_plan_version,
    usage_type,
    iccid,
    page_number,
    %(now)s,
    reason,
    %(refusal)s::text,
    %(refusal_status)s::integer
FROM finished
ON CONFLICT DO NOTHING
