-- Purpose: read the usage of one rate plan again from its first page; delete the rows staged and quarantined by this
--   reading.
-- Parameters: work_row_id, run_id, rate_plan_code, rate_plan_version, usage_type.
-- Locks: the work row, the deleted rows.
-- Repeatable: runs in the transaction that staged the last page; the next call finds page 1 of the next pass.
WITH staged AS (
    DELETE FROM amop.device_usage_staging
    WHERE
        run_id = %(run_id)s
        AND rate_plan_code = %(rate_plan_code)s
        AND rate_plan_version = %(rate_plan_version)s
        AND usage_type = %(usage_type)s
),

rejected AS (
    DELETE FROM amop.device_quarantine
    WHERE
        run_id = %(run_id)s
        AND kind = 'usage'
        AND source = 'rate_plan_usage'
        AND rate_plan_code = %(rate_plan_code)s
        AND rate_plan_version = %(rate_plan_version)s
        AND usage_type = %(usage_type)s
)

UPDATE amop.device_usage_to_process
SET page_number = 1, scan_pass = scan_pass + 1, attempts = 0
WHERE id = %(work_row_id)s
