-- Purpose: delete the earlier rows of a SIM that appears on two pages of one rate plan's usage in the same zone in
--   every reading, so that no usage counts twice.
-- Parameters: run_id, rate_plan_code, rate_plan_version, usage_type.
-- Locks: the deleted rows.
-- Repeatable: deletes nothing the second time.
DELETE FROM amop.device_usage_staging AS earlier
USING amop.device_usage_staging AS later
WHERE
    earlier.run_id = %(run_id)s
    AND earlier.rate_plan_code = %(rate_plan_code)s
    AND earlier.rate_plan_version = %(rate_plan_version)s
    AND earlier.usage_type = %(usage_type)s
    AND earlier.zone <> ''
    AND later.run_id = earlier.run_id
    AND later.iccid = earlier.iccid
    AND later.usage_type = earlier.usage_type
    AND later.rate_plan_code = earlier.rate_plan_code
    AND later.rate_plan_version = earlier.rate_plan_version
    AND later.zone = earlier.zone
    AND later.page_number > earlier.page_number
