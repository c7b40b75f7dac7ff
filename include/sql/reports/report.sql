-- Purpose: return the figures of an optimization for its report: provider, period, costs, proof, warning, and the last
--   device sync of the provider.
-- Parameters: instance_id.
-- Locks: none, reads only.
-- Repeatable: yes.
SELECT
    instance.id AS instance_id,
    instance.session_id,
    session.session_guid::text AS session_guid,
    session.opened_by,
    session.service_provider_id,
    provider.name AS service_provider_name,
    provider.currency,
    provider.time_zone,
    tenant.name AS tenant_name,
    integration.name AS integration,
    integration.display_name AS integration_display_name,
    period.bill_year,
    period.bill_month,
    period.cycle_start,
    period.cycle_end,
    instance.run_status,
    instance.error,
    instance.started_at,
    instance.usage_as_of,
    instance.apply_changes,
    instance.device_count,
    instance.expected_device_count,
    instance.unknown_plan_count,
    instance.unknown_activation_count,
    instance.unknown_activation_cost,
    instance.kept_device_count,
    instance.applied_plan_count,
    instance.change_in_doubt_count,
    instance.sms_unread_count,
    instance.current_cost,
    instance.base_cost,
    instance.total_cost,
    instance.lower_bound,
    instance.savings,
    instance.gap,
    (instance.certificate #>> '{changes,most}')::int AS change_cap,
    instance.uncapped_change_count - (instance.certificate #>> '{changes,count}')::int AS uncapped_changes,
    instance.total_cost - instance.uncapped_cost AS uncapped_saving,
    instance.certificate,
    instance.warning,
    instance.report_uri,
    instance.report_mailed_at,
    instance.devices_removed_at,
    sync.ended_at AS synced_at,
    sync.usage_as_of AS sync_usage_as_of,
    (
        SELECT count(*) FROM amop.rate_plan_change AS change WHERE change.instance_id = instance.id
    ) AS change_count,
    (
        SELECT count(*) FROM amop.rate_plan_change AS change
        WHERE change.instance_id = instance.id AND change.is_doubtful
    ) AS doubtful_count
FROM amop.optimization_instance AS instance
INNER JOIN amop.optimization_session AS session ON instance.session_id = session.id
INNER JOIN amop.service_provider AS provider ON session.service_provider_id = provider.id
INNER JOIN amop.tenant AS tenant ON provider.tenant_id = tenant.id
INNER JOIN amop.integration AS integration ON provider.integration_id = integration.id
INNER JOIN amop.billing_period AS period ON session.billing_period_id = period.id
LEFT JOIN LATERAL (
    SELECT
        run.ended_at,
        run.usage_as_of
    FROM amop.device_sync_run AS run
    WHERE
        run.service_provider_id = session.service_provider_id
        AND run.status = 'complete' AND run.replayed_run_id IS NULL
    ORDER BY run.id DESC
    LIMIT 1
) AS sync ON true
WHERE instance.id = %(instance_id)s
