-- Purpose: return the comm groups of an instance.
-- Parameters: instance_id.
-- Locks: none, reads only.
-- Repeatable: yes.
SELECT
    id,
    group_key,
    rate_plan_ids,
    communication_plans,
    outcome,
    device_count
FROM amop.optimization_comm_group
WHERE instance_id = %(instance_id)s
ORDER BY id
