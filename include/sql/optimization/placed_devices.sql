-- Purpose: the placed SIMs of an instance, each column as one array, and the ICCIDs as lines of one text: nothing
--   else is as fast. Data in 1e-6 MB; 0 stands for no plan.
-- Parameters: instance_id, comm_group_ids (bigint[], the placed groups).
-- Locks: none beyond reading.
-- Repeatable: reads only.
SELECT
    array_agg(sim.device_id),
    string_agg(sim.iccid, E'\n'),
    array_agg(sim.comm_group_id),
    array_agg((sim.projected_usage_mb * 1000000)::bigint),
    array_agg(sim.sms_usage),
    array_agg(sim.days_activated::bigint),
    array_agg(sim.is_prorated::integer::bigint),
    array_agg(coalesce(sim.current_rate_plan_id, 0)),
    array_agg(coalesce(solved.rate_plan_id, 0))
FROM amop.optimization_device AS sim
LEFT JOIN amop.optimization_solved_assignment AS solved
    ON sim.device_id = solved.device_id AND solved.instance_id = %(instance_id)s
WHERE sim.instance_id = %(instance_id)s AND sim.comm_group_id = any(%(comm_group_ids)s::bigint[])
