-- Purpose: store the sums of the results of each comm group; a group without billed SIMs has no cost.
-- Parameters: instance_id.
-- Locks: the rows.
-- Repeatable: yes.
UPDATE amop.optimization_comm_group AS comm_group
SET
    current_cost = total.current_cost,
    total_cost = total.total_cost
FROM (
    SELECT
        sim.comm_group_id,
        sum(result.from_cost) AS current_cost,
        sum(result.to_cost) AS total_cost
    FROM amop.optimization_device_result AS result
    INNER JOIN amop.optimization_device AS sim
        ON result.instance_id = sim.instance_id AND result.device_id = sim.device_id
    WHERE result.instance_id = %(instance_id)s
    GROUP BY sim.comm_group_id
) AS total
WHERE comm_group.instance_id = %(instance_id)s AND comm_group.id = total.comm_group_id
