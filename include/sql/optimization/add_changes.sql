-- Purpose: propose a plan change for every SIM whose solved rate plan is not its present one, with its place in the
--   order of sending, what it does to the bill and how certain it is; apply nothing.
-- Parameters: instance_id. Needs change_order.
-- Locks: the new rows.
-- Repeatable: yes; there is one row per SIM and instance, and decided changes stay as they are.
INSERT INTO amop.rate_plan_change (
    instance_id, device_id, from_rate_plan, to_rate_plan, iccid, projected_usage_mb, from_cost, to_cost, send_order,
    own_saving, from_pool_number, from_excess_mb, to_pool_number, to_excess_mb, certainty, is_doubtful
)
SELECT
    result.instance_id,
    result.device_id,
    result.from_rate_plan,
    result.to_rate_plan,
    sim.iccid,
    result.projected_usage_mb,
    result.from_cost,
    result.to_cost,
    change.send_order,
    change.own_saving * 0.000001 AS own_saving,
    nullif(change.from_pool, -1) AS from_pool_number,
    change.from_excess * 0.000001 AS from_excess_mb,
    nullif(change.to_pool, -1) AS to_pool_number,
    change.to_excess * 0.000001 AS to_excess_mb,
    forecast.certainty * 0.000001 AS certainty,
    coalesce(forecast.is_doubtful = 1, false) AS is_doubtful
FROM amop.optimization_device_result AS result
INNER JOIN amop.optimization_device AS sim
    ON result.instance_id = sim.instance_id AND result.device_id = sim.device_id
LEFT JOIN change_order AS change ON result.device_id = change.device_id
LEFT JOIN amop.optimization_device_forecast AS forecast
    ON result.instance_id = forecast.instance_id AND result.device_id = forecast.device_id
WHERE result.instance_id = %(instance_id)s AND result.from_rate_plan IS DISTINCT FROM result.to_rate_plan
ORDER BY result.device_id
ON CONFLICT (instance_id, device_id) DO NOTHING
