-- Purpose: return the rate plans that the SIMs of an instance may have, and those that they are on, by code: the plans
--   that the solver knows.
-- Parameters: instance_id.
-- Locks: none, reads only.
-- Repeatable: yes.
SELECT
    plan.rate_plan_code,
    plan.allows_sim_pooling,
    plan.pool,
    plan.overage_rate,
    plan.data_per_overage_charge
FROM amop.optimization_instance AS instance
INNER JOIN amop.optimization_session AS session ON instance.session_id = session.id
INNER JOIN amop.carrier_rate_plan AS plan ON session.service_provider_id = plan.service_provider_id
WHERE
    instance.id = %(instance_id)s
    AND (
        plan.id IN (
            SELECT unnest(comm_group.rate_plan_ids)
            FROM amop.optimization_comm_group AS comm_group
            WHERE comm_group.instance_id = instance.id AND comm_group.outcome IN ('optimized', 'base_only')
        )
        OR plan.rate_plan_code IN (
            SELECT item.rate_plan_code
            FROM amop.optimization_rate_plan_result AS item
            WHERE item.instance_id = instance.id
        )
    )
ORDER BY plan.rate_plan_code
