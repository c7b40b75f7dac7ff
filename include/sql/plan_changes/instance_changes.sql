-- Purpose: return what decides on the plan changes of an instance: their number and amount, apart for those that wait
--   for a later one, the settings of the provider and of the run, the billing period, and whether a newer instance has
--   superseded them.
-- Parameters: instance_id.
-- Locks: none, reads only.
-- Repeatable: yes.
SELECT
    instance.id AS instance_id,
    instance.session_id,
    instance.run_status,
    instance.apply_changes,
    instance.current_cost,
    CASE
        WHEN counted.waiting_count > 0
            THEN coalesce(amop.saving_of_changes(instance.id, 'any'), counted.saving)
        ELSE instance.savings
    END AS savings,
    (instance.certificate #>> '{changes,most}')::int AS change_cap,
    instance.uncapped_change_count - (instance.certificate #>> '{changes,count}')::int AS uncapped_changes,
    instance.total_cost - instance.uncapped_cost AS uncapped_saving,
    instance.changes_status,
    instance.changes_reason,
    instance.changes_deadline,
    session.service_provider_id,
    provider.name AS service_provider_name,
    provider.connection_id,
    integration.name AS integration,
    provider.currency,
    provider.time_zone,
    provider.is_active,
    provider.write_is_enabled,
    provider.can_auto_update_rate_plans,
    provider.approval_above_changes,
    provider.approval_above_amount,
    provider.upgrade_effect,
    provider.downgrade_effect,
    period.cycle_start,
    period.cycle_end,
    amop.newer_instance(instance.id) AS newer_instance_id,
    counted.change_count,
    counted.amount,
    counted.waiting_count,
    counted.waiting_amount,
    counted.waits_reason
FROM amop.optimization_instance AS instance
INNER JOIN amop.optimization_session AS session ON instance.session_id = session.id
INNER JOIN amop.service_provider AS provider ON session.service_provider_id = provider.id
INNER JOIN amop.integration AS integration ON provider.integration_id = integration.id
INNER JOIN amop.billing_period AS period ON session.billing_period_id = period.id
CROSS JOIN
    LATERAL (
        SELECT
            count(*) FILTER (WHERE change.waits_reason IS NULL) AS change_count,
            coalesce(
                sum(abs(result.to_cost - result.from_cost)) FILTER (WHERE change.waits_reason IS NULL), 0
            ) AS amount,
            coalesce(sum(result.from_cost - result.to_cost) FILTER (WHERE change.waits_reason IS NULL), 0) AS saving,
            count(change.waits_reason) AS waiting_count,
            coalesce(
                sum(abs(result.to_cost - result.from_cost)) FILTER (WHERE change.waits_reason IS NOT NULL), 0
            ) AS waiting_amount,
            max(change.waits_reason) AS waits_reason
        FROM amop.rate_plan_change AS change
        INNER JOIN amop.optimization_device_result AS result
            ON change.instance_id = result.instance_id AND change.device_id = result.device_id
        WHERE change.instance_id = instance.id
    ) AS counted
WHERE instance.id = %(instance_id)s
