-- Purpose: return the plan changes of an instance with the saving of each; the largest saving first.
-- Parameters: instance_id.
-- Locks: none, reads only.
-- Repeatable: yes.
SELECT
    device.iccid,
    change.from_rate_plan,
    change.to_rate_plan,
    result.from_cost::double precision,
    result.to_cost::double precision,
    (result.from_cost - result.to_cost)::double precision AS saving,
    change.state,
    result.reason
FROM amop.rate_plan_change AS change
INNER JOIN amop.device AS device ON change.device_id = device.id
INNER JOIN amop.optimization_device_result AS result
    ON change.instance_id = result.instance_id AND change.device_id = result.device_id
WHERE change.instance_id = %(instance_id)s
ORDER BY result.from_cost - result.to_cost DESC, device.iccid COLLATE "C" ASC
