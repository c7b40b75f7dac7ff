-- Purpose: propose a plan change for every SIM whose solved rate plan is not its present one; apply nothing.
-- Parameters: instance_id.
-- Locks: the new rows.
-- Repeatable: yes; there is one row per SIM and instance, and decided changes stay as they are.
INSERT INTO amop.rate_plan_change (instance_id, device_id, from_rate_plan, to_rate_plan)
SELECT
    result.instance_id,
    result.device_id,
    result.from_rate_plan,
    result.to_rate_plan
FROM amop.optimization_device_result AS result
WHERE result.instance_id = %(instance_id)s AND result.from_rate_plan IS DISTINCT FROM result.to_rate_plan
ORDER BY result.device_id
ON CONFLICT (instance_id, device_id) DO NOTHING
