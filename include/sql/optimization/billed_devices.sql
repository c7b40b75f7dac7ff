-- Purpose: return the billed SIMs of an instance, placed and kept ones, each column as one array, and the ICCIDs as
--   lines of one text, which is the fastest way to read a million rows. Data in 1e-6 MB; 0 stands for no plan.
-- Parameters: instance_id.
-- Locks: none, reads only.
-- Repeatable: yes.
SELECT
    array_agg(sim.device_id) AS device_id,
    string_agg(sim.iccid, E'\n') AS iccid,
    array_agg(sim.comm_group_id) AS comm_group_id,
    array_agg((sim.projected_usage_mb * 1000000)::bigint) AS usage_micro_mb,
    array_agg(sim.sms_usage) AS sms_usage,
    array_agg(sim.days_activated::bigint) AS days_activated,
    array_agg(sim.is_prorated::integer::bigint) AS is_prorated,
    array_agg(coalesce(sim.current_rate_plan_id, 0)) AS current_rate_plan_id,
    array_agg(coalesce(solved.rate_plan_id, 0)) AS solved_rate_plan_id,
    array_agg((sim.kept_reason IS NOT NULL OR sim.change_limit IS NOT NULL)::integer::bigint) AS is_kept,
    array_agg(sim.sms_is_read::integer::bigint) AS sms_is_read,
    array_agg((sim.usage_mb * 1000000)::bigint) AS measured_micro_mb,
    array_agg(sim.later_sms_usage) AS later_sms_usage,
    array_agg(sim.history_days::bigint) AS history_days
FROM amop.optimization_device AS sim
LEFT JOIN amop.optimization_solved_assignment AS solved
    ON sim.device_id = solved.device_id AND solved.instance_id = %(instance_id)s
WHERE sim.instance_id = %(instance_id)s AND sim.is_billed
