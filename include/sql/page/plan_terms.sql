-- Purpose: return the prices of rate plans: as the optimization of an instance used them where a SIM was on the plan,
--   otherwise as they are now.
-- Parameters: rate_plan_ids (bigint[]), instance_id.
-- Locks: none, reads only.
-- Repeatable: yes.
SELECT
    plan.id,
    plan.rate_plan_code,
    coalesce(used.rate_charge, plan.rate_charge) AS rate_charge,
    coalesce(used.base_rate, plan.base_rate) AS base_rate,
    coalesce(used.plan_mb, plan.plan_mb) AS plan_mb,
    coalesce(used.overage_rate, plan.overage_rate) AS overage_rate,
    coalesce(used.data_per_overage_charge, plan.data_per_overage_charge) AS data_per_overage_charge,
    coalesce(used.sms_rate, plan.sms_rate) AS sms_rate,
    plan.allows_sim_pooling,
    plan.pool,
    plan.is_retired
FROM amop.carrier_rate_plan AS plan
LEFT JOIN LATERAL (
    SELECT item.*
    FROM amop.optimization_rate_plan_result AS item
    WHERE item.instance_id = %(instance_id)s AND item.rate_plan_code = plan.rate_plan_code
    ORDER BY item.assignment DESC
    LIMIT 1
) AS used ON true
WHERE plan.id = any(%(rate_plan_ids)s::bigint[])
ORDER BY plan.rate_plan_code
