-- Purpose: everything that a task must know of its instance, session, provider and billing period.
-- Parameters: instance_id.
-- Locks: none beyond reading.
-- Repeatable: reads only.
SELECT
    instance.*,
    session.status AS session_status,
    session.progress,
    session.error AS session_error,
    session.service_provider_id,
    session.billing_period_id,
    provider.name AS service_provider_name,
    provider.time_zone,
    provider.uses_proration,
    provider.prorates_allowance,
    provider.pool_scope,
    provider.minimum_saving_per_change,
    provider.maximum_changes,
    provider.rate_plan_limit,
    provider.projection_method,
    period.cycle_start,
    period.cycle_end
FROM amop.optimization_instance AS instance
INNER JOIN amop.optimization_session AS session ON instance.session_id = session.id
INNER JOIN amop.service_provider AS provider ON session.service_provider_id = provider.id
INNER JOIN amop.billing_period AS period ON session.billing_period_id = period.id
WHERE instance.id = %(instance_id)s
