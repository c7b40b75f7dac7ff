-- Purpose: return a session with its provider, billing period and instance.
-- Parameters: session_id, integrations (text[], names that the user may see).
-- Locks: none, reads only.
-- Repeatable: yes.
SELECT
    session.id,
    session.service_provider_id,
    provider.name AS provider,
    provider.currency,
    provider.time_zone,
    integration.name AS integration,
    period.cycle_start,
    period.cycle_end,
    session.status,
    session.progress,
    session.error,
    session.opened_by,
    session.started_at,
    session.heartbeat_at,
    session.ended_at,
    instance.id AS instance_id,
    instance.run_status,
    instance.usage_as_of,
    instance.device_count,
    instance.kept_device_count,
    instance.unknown_plan_count,
    instance.unknown_activation_count,
    instance.unknown_activation_cost,
    instance.applied_plan_count,
    instance.change_in_doubt_count,
    instance.current_cost,
    instance.base_cost,
    instance.total_cost,
    instance.lower_bound,
    instance.savings,
    CASE
        WHEN instance.changes_status <> 'waiting' THEN NULL
        WHEN
            EXISTS (
                SELECT FROM amop.rate_plan_change AS change
                WHERE change.instance_id = instance.id AND change.waits_reason IS NOT NULL
            )
            THEN coalesce(amop.saving_of_changes(instance.id, 'any'), instance.savings)
        ELSE instance.savings
    END AS saving_to_approve,
    (instance.certificate #>> '{changes,most}')::int AS change_cap,
    instance.uncapped_change_count - (instance.certificate #>> '{changes,count}')::int AS uncapped_changes,
    instance.total_cost - instance.uncapped_cost AS uncapped_saving,
    CASE
        WHEN
            instance.certificate #>> '{changes,most}' IS NOT NULL
            AND instance.certificate #>> '{changes,saving}' = '0'
            THEN 0.000001 * (
                (instance.certificate #>> '{changes,objective}')::numeric
                - (instance.certificate #>> '{changes,bound}')::numeric
            )
    END AS capped_rest,
    instance.gap,
    instance.expected_cost,
    instance.cost_5_percent,
    instance.cost_95_percent,
    instance.worst_tenth_cost,
    instance.expected_bill #>> '{risk,risk_weight}' AS risk_weight,
    (instance.expected_bill ->> 'risk_adjusted_gap')::numeric AS risk_adjusted_gap,
    instance.expected_bill -> 'pools' AS expected_pools,
    instance.warning,
    instance.error AS instance_error,
    instance.report_uri,
    instance.changes_status,
    instance.changes_reason,
    instance.changes_decided_by,
    instance.changes_decided_at,
    instance.changes_deadline,
    instance.changes_planned_by,
    session.dag_run_deleted_at IS NOT NULL AS run_is_deleted,
    session.approval_lost_at IS NOT NULL AS approval_is_lost,
    session.applying_lost_at IS NOT NULL AS applying_is_lost,
    instance.devices_removed_at
FROM amop.optimization_session AS session
INNER JOIN amop.service_provider AS provider ON session.service_provider_id = provider.id
INNER JOIN amop.integration AS integration ON provider.integration_id = integration.id
INNER JOIN amop.billing_period AS period ON session.billing_period_id = period.id
LEFT JOIN amop.optimization_instance AS instance ON session.id = instance.session_id
WHERE session.id = %(session_id)s AND integration.name = any(%(integrations)s::text[])
