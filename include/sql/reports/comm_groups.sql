-- Purpose: return the comm groups of an instance with the names of their plans, the largest first.
-- Parameters: instance_id.
-- Locks: none, reads only.
-- Repeatable: yes.
SELECT
    comm_group.group_key,
    comm_group.outcome,
    comm_group.device_count,
    comm_group.current_cost,
    comm_group.total_cost,
    comm_group.current_cost - comm_group.total_cost AS saving,
    cardinality(comm_group.rate_plan_ids) AS rate_plan_count,
    (
        SELECT string_agg(plan.rate_plan_code, '; ' ORDER BY plan.rate_plan_code)
        FROM amop.carrier_rate_plan AS plan
        WHERE plan.id = any(comm_group.rate_plan_ids)
    ) AS rate_plans,
    array_to_string(
        array(SELECT coalesce(nullif(name, ''), '(none)') FROM unnest(comm_group.communication_plans) AS name), '; '
    ) AS communication_plans
FROM amop.optimization_comm_group AS comm_group
WHERE comm_group.instance_id = %(instance_id)s
ORDER BY comm_group.device_count DESC, comm_group.group_key ASC
