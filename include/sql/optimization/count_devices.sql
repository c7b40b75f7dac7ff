-- Purpose: per comm group of an instance: SIMs, SIMs whose present plan the reference data does not know, and SIMs
--   whose activation date is unknown.
-- Parameters: instance_id.
-- Locks: none beyond reading.
-- Repeatable: reads only.
SELECT
    comm_group.id,
    comm_group.outcome,
    comm_group.communication_plans,
    count(sim.device_id) AS device_count,
    count(*) FILTER (WHERE sim.device_id IS NOT NULL AND sim.current_rate_plan_id IS NULL) AS unknown_plan_count,
    count(*) FILTER (WHERE sim.device_id IS NOT NULL AND device.date_activated IS NULL) AS unknown_activation_count
FROM amop.optimization_comm_group AS comm_group
LEFT JOIN amop.optimization_device AS sim
    ON comm_group.id = sim.comm_group_id AND sim.instance_id = %(instance_id)s
LEFT JOIN amop.device AS device ON sim.device_id = device.id
WHERE comm_group.instance_id = %(instance_id)s
GROUP BY comm_group.id
ORDER BY comm_group.id
