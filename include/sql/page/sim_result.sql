-- Purpose: return the inputs and the result of a SIM in the latest complete optimization that covered it. The number of
--   its comm group is its position among the groups of the instance, in the order in which the solver has them.
--   counts_for_whole_cycle says whether every plan change counts for the whole cycle.
-- Parameters: device_id, service_provider_id.
-- Locks: none, reads only.
-- Repeatable: yes.
SELECT
    instance.id AS instance_id,
    session.id AS session_id,
    instance.usage_as_of,
    period.cycle_end,
    instance.certificate,
    (
        SELECT count(*) FROM amop.optimization_comm_group AS earlier
        WHERE earlier.instance_id = instance.id AND earlier.id < comm_group.id
    ) AS group_number,
    comm_group.rate_plan_ids,
    sim.usage_mb,
    sim.projected_usage_mb,
    sim.sms_usage,
    sim.sms_is_read,
    sim.days_activated,
    sim.is_prorated,
    sim.history_days,
    sim.current_rate_plan,
    sim.current_rate_plan_id,
    sim.kept_reason,
    provider.upgrade_effect = 'whole_cycle' AND provider.downgrade_effect = 'whole_cycle' AS counts_for_whole_cycle,
    forecast.usage_mb AS likely_usage_mb,
    forecast.value_at_stake,
    forecast.certainty,
    change.waits_reason,
    result.to_rate_plan,
    result.from_cost,
    result.to_cost,
    result.reason
FROM amop.optimization_session AS session
INNER JOIN amop.optimization_instance AS instance ON session.id = instance.session_id
INNER JOIN amop.service_provider AS provider ON session.service_provider_id = provider.id
INNER JOIN amop.billing_period AS period ON session.billing_period_id = period.id
INNER JOIN amop.optimization_device AS sim ON instance.id = sim.instance_id AND sim.device_id = %(device_id)s
INNER JOIN amop.optimization_comm_group AS comm_group ON sim.comm_group_id = comm_group.id
LEFT JOIN amop.optimization_device_result AS result
    ON instance.id = result.instance_id AND sim.device_id = result.device_id
LEFT JOIN amop.rate_plan_change AS change
    ON instance.id = change.instance_id AND sim.device_id = change.device_id AND change.state = 'proposed'
LEFT JOIN LATERAL (
    SELECT
        sim_forecast.value_at_stake / 1000000.0 AS value_at_stake,
        sim_forecast.certainty / 1000000.0 AS certainty,
        ARRAY[
            sim_forecast.usage_5_percent / 1000000.0,
            sim_forecast.usage_15_percent / 1000000.0,
            sim_forecast.usage_25_percent / 1000000.0,
            sim_forecast.usage_35_percent / 1000000.0,
            sim_forecast.usage_45_percent / 1000000.0,
            sim_forecast.usage_55_percent / 1000000.0,
            sim_forecast.usage_65_percent / 1000000.0,
            sim_forecast.usage_75_percent / 1000000.0,
            sim_forecast.usage_85_percent / 1000000.0,
            sim_forecast.usage_95_percent / 1000000.0
        ]::numeric(24, 6)[] AS usage_mb
    FROM amop.optimization_device_forecast AS sim_forecast
    WHERE sim_forecast.instance_id = instance.id AND sim_forecast.device_id = sim.device_id
) AS forecast ON true
WHERE
    session.service_provider_id = %(service_provider_id)s
    AND instance.run_status = 'complete_with_success'
ORDER BY session.id DESC
LIMIT 1
