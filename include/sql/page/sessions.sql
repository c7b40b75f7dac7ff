-- Purpose: return the latest optimization sessions, newest first.
-- Parameters: integrations (text[], names that the user may see), service_provider_id (null = all), maximum.
-- Locks: none, reads only.
-- Repeatable: yes.
SELECT
    session.id,
    session.service_provider_id,
    provider.name AS provider,
    provider.currency,
    period.cycle_end,
    session.status,
    session.progress,
    session.started_at,
    session.ended_at,
    session.error,
    instance.device_count,
    instance.current_cost,
    instance.total_cost,
    instance.savings,
    instance.changes_status
FROM amop.optimization_session AS session
INNER JOIN amop.service_provider AS provider ON session.service_provider_id = provider.id
INNER JOIN amop.integration AS integration ON provider.integration_id = integration.id
INNER JOIN amop.billing_period AS period ON session.billing_period_id = period.id
LEFT JOIN amop.optimization_instance AS instance ON session.id = instance.session_id
WHERE
    integration.name = any(%(integrations)s::text[])
    AND (%(service_provider_id)s::bigint IS NULL OR session.service_provider_id = %(service_provider_id)s)
ORDER BY session.id DESC
LIMIT %(maximum)s
