-- Purpose: the base assignment to the SIMs of an instance.
-- Parameters: instance_id.
-- Locks: the rows that change.
-- Repeatable: writes only what differs.
UPDATE amop.optimization_device AS sim
SET base_rate_plan_id = assignment.rate_plan_id
FROM assignment
WHERE
    sim.instance_id = %(instance_id)s
    AND sim.device_id = assignment.device_id
    AND sim.base_rate_plan_id IS DISTINCT FROM assignment.rate_plan_id
