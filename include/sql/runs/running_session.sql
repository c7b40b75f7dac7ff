-- Purpose: find the running session of a provider, with the provider's name.
-- Parameters: service_provider_id.
-- Locks: none beyond reading.
-- Repeatable: reads only.
SELECT
    session.id,
    session.service_provider_id,
    provider.name AS service_provider_name,
    session.opened_by,
    session.progress,
    session.started_at
FROM amop.optimization_session AS session
INNER JOIN amop.service_provider AS provider ON session.service_provider_id = provider.id
WHERE session.service_provider_id = %(service_provider_id)s AND session.status = 'running'
