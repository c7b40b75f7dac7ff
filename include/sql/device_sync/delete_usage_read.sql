-- Purpose: delete what a bulk usage read has staged and quarantined: the carrier refused one of its pages for good.
-- Parameters: run_id, rate_plan_code, rate_plan_version, usage_type.
-- Locks: the deleted rows.
-- Repeatable: deletes nothing the second time.
WITH rejected AS (
    DELETE FROM amop.device_quarantine
    WHERE
        run_id = %(run_id)s
        AND kind = 'usage'
        AND source = 'rate_plan_usage'
        AND rate_plan_code = %(rate_plan_code)s
        AND rate_plan_version = %(rate_plan_version)s
        AND usage_type = %(usage_type)s
)

DELETE FROM amop.device_usage_staging
WHERE
    run_id = %(run_id)s
    AND rate_plan_code = %(rate_plan_code)s
    AND rate_plan_version = %(rate_plan_version)s
    AND usage_type = %(usage_type)s
