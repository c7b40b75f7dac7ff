-- Purpose: write the SIMs that this instance does not place, each with the reason (words:
--   amop.optimization.exclusions). Every SIM of the carrier's list is either placed or written here. A SIM that is no
--   longer in the list is written if it has usage in the period.
-- Parameters: instance_id, service_provider_id, billing_period_id, usage_as_of, largest_usage_mb, largest_sms_usage.
-- Locks: the new rows.
-- Repeatable: yes, in one transaction with set_device_counts; an existing row stays as it is.
INSERT INTO amop.optimization_device_excluded (instance_id, device_id, reason)
SELECT
    %(instance_id)s,
    device.id,
    CASE
        WHEN sim.kept_reason IN ('retired', 'sms_not_read') THEN sim.kept_reason
        WHEN comm_group.outcome = 'limit_exceeded' THEN 'limit_exceeded'
        WHEN sim.device_id IS NOT NULL AND coalesce(device.communication_plan, '') = '' THEN 'no_communication_plan'
        WHEN sim.device_id IS NOT NULL AND mapped.name IS NOT NULL THEN 'only_retired_rate_plans'
        WHEN sim.device_id IS NOT NULL THEN 'communication_plan_not_mapped'
        WHEN
            eligible.data_usage > %(largest_usage_mb)s * 1048576::bigint OR eligible.sms_usage > %(largest_sms_usage)s
            THEN 'usage_too_large'
        WHEN NOT device.is_active THEN 'vanished'
        WHEN eligible.device_id IS NOT NULL THEN 'changed_meanwhile'
        ELSE 'inactive'
    END
FROM amop.device AS device
LEFT JOIN amop.optimization_device AS sim
    ON device.id = sim.device_id AND sim.instance_id = %(instance_id)s
LEFT JOIN amop.optimization_comm_group AS comm_group ON sim.comm_group_id = comm_group.id
LEFT JOIN amop.eligible_device(%(service_provider_id)s, %(billing_period_id)s, %(usage_as_of)s) AS eligible
    ON device.id = eligible.device_id
LEFT JOIN (
    SELECT DISTINCT communication.name
    FROM amop.communication_plan AS communication
    INNER JOIN amop.communication_plan_rate_plan AS mapping ON communication.id = mapping.communication_plan_id
    WHERE communication.service_provider_id = %(service_provider_id)s
) AS mapped ON device.communication_plan = mapped.name
WHERE
    device.service_provider_id = %(service_provider_id)s
    AND (sim.device_id IS NULL OR sim.kept_reason IS NOT NULL)
    AND (
        device.is_active
        OR device.billing_period_id = %(billing_period_id)s
        OR EXISTS (
            SELECT 1 FROM amop.device_usage AS usage
            WHERE usage.device_id = device.id AND usage.billing_period_id = %(billing_period_id)s
        )
    )
ON CONFLICT (instance_id, device_id) DO NOTHING
