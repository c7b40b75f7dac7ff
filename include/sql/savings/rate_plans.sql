-- Purpose: return the rate plans that the SIMs of an instance were on or were to be moved to, at the prices that the
--   instance was solved with, in the columns of optimization/rate_plans: the reference data may have changed since.
-- Parameters: instance_id, service_provider_id.
-- Locks: none, reads only.
-- Repeatable: yes.
SELECT DISTINCT ON (used.rate_plan_code)
    plan.id,
    used.rate_plan_code,
    used.rate_charge,
    used.base_rate,
    used.plan_mb,
    used.overage_rate,
    used.data_per_overage_charge,
    used.sms_rate,
    used.pool_name IS NOT NULL AS allows_sim_pooling,
    used.pool_name AS pool,
    false AS is_retired
FROM amop.optimization_rate_plan_result AS used
INNER JOIN amop.carrier_rate_plan AS plan
    ON plan.service_provider_id = %(service_provider_id)s AND used.rate_plan_code = plan.rate_plan_code
WHERE used.instance_id = %(instance_id)s
ORDER BY used.rate_plan_code ASC
