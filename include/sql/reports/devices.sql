-- Purpose: return every placed SIM with its old and its new plan, both costs, its usage and the reason. Messages that
--   were not read are null. Numbers are doubles, because a workbook cell cannot hold more.
-- Parameters: instance_id.
-- Locks: none, reads only.
-- Repeatable: yes.
SELECT
    sim.iccid,
    device.communication_plan,
    comm_group.group_key,
    result.from_rate_plan,
    result.to_rate_plan,
    result.from_cost::double precision,
    result.to_cost::double precision,
    (result.from_cost - result.to_cost)::double precision AS saving,
    result.usage_mb::double precision,
    result.projected_usage_mb::double precision,
    CASE WHEN sim.sms_is_read OR sim.sms_usage > 0 THEN sim.sms_usage END AS sms_usage,
    sim.days_activated,
    result.reason
FROM amop.optimization_device_result AS result
INNER JOIN amop.optimization_device AS sim
    ON result.instance_id = sim.instance_id AND result.device_id = sim.device_id
INNER JOIN amop.optimization_comm_group AS comm_group ON sim.comm_group_id = comm_group.id
INNER JOIN amop.device AS device ON result.device_id = device.id
WHERE result.instance_id = %(instance_id)s
ORDER BY sim.iccid COLLATE "C"
