-- Purpose: one result row per placed SIM: old plan, new plan, usage, its share of both bills, and the reason.
-- Parameters: instance_id, and the words of each reason (amop.domain.assignment_reasons).
-- Locks: the new rows.
-- Repeatable: after delete_results, in one transaction.
INSERT INTO amop.optimization_device_result (
    instance_id, device_id, from_rate_plan, to_rate_plan, usage_mb, projected_usage_mb, from_cost, to_cost, reason
)
SELECT
    sim.instance_id,
    sim.device_id,
    sim.current_rate_plan,
    plan.rate_plan_code,
    sim.usage_mb,
    sim.projected_usage_mb,
    cost.from_cost * 0.000001,
    cost.to_cost * 0.000001,
    CASE
        WHEN sim.current_rate_plan_id = plan.id AND cardinality(comm_group.rate_plan_ids) = 1 THEN %(kept_only_plan)s
        WHEN sim.current_rate_plan_id = plan.id THEN %(kept_cheapest)s
        WHEN sim.current_rate_plan IS NULL THEN %(set_unknown)s
        WHEN present.id IS NULL THEN %(set_not_in_reference)s
        WHEN present.is_retired THEN %(moved_retired)s
        WHEN present.id <> all(comm_group.rate_plan_ids) THEN %(moved_not_allowed)s
        WHEN cost.to_cost < cost.from_cost
            THEN %(moved_saves)s || ' ' || trim_scale((cost.from_cost - cost.to_cost) * 0.000001)
        WHEN plan.allows_sim_pooling THEN %(moved_for_pool)s
        ELSE %(moved_for_bill)s
    END
FROM device_cost AS cost
INNER JOIN amop.optimization_device AS sim
    ON cost.device_id = sim.device_id AND sim.instance_id = %(instance_id)s
INNER JOIN amop.optimization_comm_group AS comm_group ON sim.comm_group_id = comm_group.id
INNER JOIN amop.optimization_solved_assignment AS solved
    ON cost.device_id = solved.device_id AND solved.instance_id = %(instance_id)s
INNER JOIN amop.carrier_rate_plan AS plan ON solved.rate_plan_id = plan.id
LEFT JOIN amop.carrier_rate_plan AS present ON sim.current_rate_plan_id = present.id
