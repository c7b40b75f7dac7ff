-- Purpose: the placed SIMs of an instance for a binary COPY of one row length: every number 8 bytes, the ICCID
--   padded with zero bytes. Data in 1e-6 MB; 0 stands for no plan.
-- Parameters: instance_id, outcomes (text[], those of placed groups), iccid_bytes.
-- Locks: none beyond reading.
-- Repeatable: reads only.
SELECT
    sim.device_id,
    substring(convert_to(sim.iccid, 'UTF8') || decode(repeat('00', %(iccid_bytes)s), 'hex') FOR %(iccid_bytes)s),
    sim.comm_group_id,
    (sim.projected_usage_mb * 1000000)::bigint,
    sim.sms_usage,
    sim.days_activated::bigint,
    sim.is_prorated::integer::bigint,
    coalesce(sim.current_rate_plan_id, 0),
    coalesce(solved.rate_plan_id, 0)
FROM amop.optimization_device AS sim
INNER JOIN amop.optimization_comm_group AS comm_group ON sim.comm_group_id = comm_group.id
LEFT JOIN amop.optimization_solved_assignment AS solved
    ON sim.device_id = solved.device_id AND solved.instance_id = %(instance_id)s
WHERE sim.instance_id = %(instance_id)s AND comm_group.outcome = any(%(outcomes)s::text[])
ORDER BY sim.device_id
