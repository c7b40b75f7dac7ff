-- Purpose: return a what-if.
-- Parameters: integrations (text[], names that the user may see), what_if_id.
-- Locks: none, reads only.
-- Repeatable: yes.
SELECT
    asked.id,
    asked.service_provider_id,
    provider.name AS provider,
    provider.currency,
    asked.dag_id,
    asked.dag_run_id,
    asked.rate_plans,
    asked.ladder_size,
    asked.status,
    asked.error,
    session.id AS session_id,
    asked.device_count,
    asked.present_cost,
    asked.today_cost,
    asked.today_bound,
    asked.new_present_cost,
    asked.new_cost,
    asked.new_bound,
    asked.changes,
    asked.started_at,
    asked.ended_at
FROM amop.what_if AS asked
INNER JOIN amop.service_provider AS provider ON asked.service_provider_id = provider.id
INNER JOIN amop.integration AS integration ON provider.integration_id = integration.id
LEFT JOIN amop.optimization_instance AS instance ON asked.instance_id = instance.id
LEFT JOIN amop.optimization_session AS session ON instance.session_id = session.id
WHERE integration.name = any(%(integrations)s::text[]) AND asked.id = %(what_if_id)s
