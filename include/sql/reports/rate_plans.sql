-- Purpose: return for each rate plan its prices, and its part in the bill today and optimized; the most expensive
--   first.
-- Parameters: instance_id.
-- Locks: none, reads only.
-- Repeatable: yes.
SELECT
    coalesce(present.rate_plan_code, solved.rate_plan_code) AS rate_plan_code,
    coalesce(present.pool_name, solved.pool_name) AS pool_name,
    coalesce(present.rate_charge, solved.rate_charge) AS rate_charge,
    coalesce(present.base_rate, solved.base_rate) AS base_rate,
    coalesce(present.plan_mb, solved.plan_mb) AS plan_mb,
    coalesce(present.overage_rate, solved.overage_rate) AS overage_rate,
    coalesce(present.data_per_overage_charge, solved.data_per_overage_charge) AS data_per_overage_charge,
    coalesce(present.sms_rate, solved.sms_rate) AS sms_rate,
    present.device_count AS from_device_count,
    present.usage_mb AS from_usage_mb,
    present.included_mb AS from_included_mb,
    present.overage_mb AS from_overage_mb,
    present.overage_blocks AS from_overage_blocks,
    present.charges AS from_charges,
    present.overage_cost AS from_overage_cost,
    present.sms_cost AS from_sms_cost,
    present.total_cost AS from_total_cost,
    solved.device_count AS to_device_count,
    solved.usage_mb AS to_usage_mb,
    solved.included_mb AS to_included_mb,
    solved.overage_mb AS to_overage_mb,
    solved.overage_blocks AS to_overage_blocks,
    solved.charges AS to_charges,
    solved.overage_cost AS to_overage_cost,
    solved.sms_cost AS to_sms_cost,
    solved.total_cost AS to_total_cost
FROM (
    SELECT * FROM amop.optimization_rate_plan_result
    WHERE instance_id = %(instance_id)s AND assignment = 'current'
) AS present
FULL JOIN (
    SELECT * FROM amop.optimization_rate_plan_result
    WHERE instance_id = %(instance_id)s AND assignment = 'solved'
) AS solved ON present.rate_plan_code = solved.rate_plan_code
ORDER BY
    greatest(present.total_cost, solved.total_cost) DESC,
    coalesce(present.rate_plan_code, solved.rate_plan_code) ASC
