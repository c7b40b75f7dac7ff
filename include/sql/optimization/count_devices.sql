-- Purpose: return for each comm group of an instance the number of SIMs that should be placed, of placed SIMs, of kept
--   SIMs that are billed, of placed SIMs whose present plan is not in the reference data, whose activation date is
--   unknown (with the rate charges of their present plans), or to which no plan with a price for messages was offered
--   because their messages were not read; and of billed SIMs whose plan was applied after the last list of devices, and
--   of placed ones whose plan change is in doubt.
-- Parameters: instance_id.
-- Locks: none, reads only.
-- Repeatable: yes.
SELECT
    comm_group.id,
    comm_group.outcome,
    comm_group.communication_plans,
    count(sim.device_id) FILTER (WHERE sim.kept_reason IS DISTINCT FROM 'retired') AS device_count,
    count(sim.device_id) FILTER (WHERE sim.kept_reason IS NULL) AS placed_count,
    count(sim.device_id) FILTER (WHERE sim.kept_reason IS NOT NULL AND sim.is_billed) AS kept_count,
    count(sim.device_id) FILTER (WHERE sim.kept_reason = 'sms_not_read') AS sms_kept_count,
    count(sim.device_id) FILTER (WHERE sim.kept_reason IS NULL AND sim.current_rate_plan_id IS NULL)
        AS unknown_plan_count,
    count(sim.device_id) FILTER (WHERE sim.kept_reason IS NULL AND device.date_activated IS NULL)
        AS unknown_activation_count,
    coalesce(
        sum(present.rate_charge) FILTER (WHERE sim.kept_reason IS NULL AND device.date_activated IS NULL), 0
    ) AS unknown_activation_charge,
    count(sim.device_id) FILTER (WHERE sim.kept_reason IS NULL AND NOT sim.sms_is_read AND priced.is_offered)
        AS sms_unread_count,
    count(sim.device_id) FILTER (WHERE sim.is_billed AND sim.plan_is_applied) AS applied_plan_count,
    count(sim.device_id) FILTER (WHERE sim.change_limit = 'change_in_doubt') AS change_in_doubt_count
FROM amop.optimization_comm_group AS comm_group
LEFT JOIN amop.optimization_device AS sim
    ON comm_group.id = sim.comm_group_id AND sim.instance_id = %(instance_id)s
LEFT JOIN amop.device AS device ON sim.device_id = device.id
LEFT JOIN amop.carrier_rate_plan AS present ON sim.current_rate_plan_id = present.id
CROSS JOIN LATERAL (
    SELECT coalesce(bool_or(plan.sms_rate > 0), false) AS is_offered
    FROM amop.carrier_rate_plan AS plan
    WHERE plan.id = any(comm_group.rate_plan_ids)
) AS priced
WHERE comm_group.instance_id = %(instance_id)s
GROUP BY comm_group.id
ORDER BY comm_group.id
