-- Purpose: the rate plans that the placed SIMs of an instance were on when their usage was projected.
-- Parameters: instance_id, outcomes (text[], those of placed groups).
-- Locks: none beyond reading.
-- Repeatable: reads only.
SELECT DISTINCT device.current_rate_plan_id AS id
FROM amop.optimization_device AS device
INNER JOIN amop.optimization_comm_group AS comm_group ON device.comm_group_id = comm_group.id
WHERE
    device.instance_id = %(instance_id)s
    AND comm_group.outcome = any(%(outcomes)s::text[])
    AND device.current_rate_plan_id IS NOT NULL
