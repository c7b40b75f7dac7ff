-- Purpose: return rate plans by id.
-- Parameters: rate_plan_ids (bigint[]).
-- Locks: none, reads only.
-- Repeatable: yes.
SELECT
    id,
    rate_plan_code,
    rate_charge,
    base_rate,
    plan_mb,
    overage_rate,
    data_per_overage_charge,
    sms_rate,
    allows_sim_pooling,
    pool,
    is_retired
FROM amop.carrier_rate_plan
WHERE id = any(%(rate_plan_ids)s::bigint[])
ORDER BY rate_plan_code
