-- Purpose: return an instance with its session, provider and billing period.
-- Parameters: instance_id.
-- Locks: none, reads only.
-- Repeatable: yes.
SELECT
    instance.id,
    instance.session_id,
    instance.usage_as_of,
    instance.inputs_read_at,
    instance.device_count,
    instance.expected_device_count,
    instance.kept_device_count,
    instance.applied_plan_count,
    instance.change_in_doubt_count,
    instance.unknown_plan_count,
    instance.unknown_activation_count,
    instance.current_cost,
    instance.base_cost,
    instance.total_cost,
    instance.lower_bound,
    instance.savings,
    instance.cost_5_percent,
    instance.cost_95_percent,
    instance.certificate,
    instance.projection,
    instance.warning,
    instance.report_uri,
    instance.run_status,
    instance.error,
    session.status AS session_status,
    session.progress,
    session.error AS session_error,
    session.service_provider_id,
    session.billing_period_id,
    provider.name AS service_provider_name,
    integration.family,
    provider.currency,
    provider.time_zone,
    provider.uses_proration,
    provider.prorates_allowance,
    provider.pool_scope,
    provider.minimum_saving_per_change,
    provider.maximum_changes,
    provider.rate_plan_limit,
    provider.projection_method,
    provider.risk_weight,
    provider.upgrade_effect,
    provider.downgrade_effect,
    provider.maximum_changes_per_sim,
    provider.minimum_days_on_plan,
    period.cycle_start,
    period.cycle_end
FROM amop.optimization_instance AS instance
INNER JOIN amop.optimization_session AS session ON instance.session_id = session.id
INNER JOIN amop.service_provider AS provider ON session.service_provider_id = provider.id
INNER JOIN amop.integration AS integration ON provider.integration_id = integration.id
INNER JOIN amop.billing_period AS period ON session.billing_period_id = period.id
WHERE instance.id = %(instance_id)s
