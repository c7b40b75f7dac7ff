-- Purpose: one result row per placed SIM: old plan, new plan, usage, and its share of both bills.
-- Parameters: instance_id.
-- Locks: the new rows.
-- Repeatable: after delete_results, in one transaction.
INSERT INTO amop.optimization_device_result (
    instance_id, device_id, from_rate_plan, to_rate_plan, usage_mb, projected_usage_mb, from_cost, to_cost
)
SELECT
    sim.instance_id,
    sim.device_id,
    sim.current_rate_plan,
    plan.rate_plan_code,
    sim.usage_mb,
    sim.projected_usage_mb,
    cost.from_cost * 0.000001,
    cost.to_cost * 0.000001
FROM device_cost AS cost
INNER JOIN amop.optimization_device AS sim
    ON cost.device_id = sim.device_id AND sim.instance_id = %(instance_id)s
INNER JOIN amop.carrier_rate_plan AS plan ON sim.solved_rate_plan_id = plan.id
