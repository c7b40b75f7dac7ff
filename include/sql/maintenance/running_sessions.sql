-- Purpose: list the running optimization sessions.
-- Parameters: none.
-- Locks: none beyond reading.
-- Repeatable: reads only.
SELECT
    session.id,
    session.session_guid,
    session.service_provider_id,
    provider.name AS service_provider,
    session.progress,
    session.started_at,
    session.heartbeat_at
FROM amop.optimization_session AS session
INNER JOIN amop.service_provider AS provider ON session.service_provider_id = provider.id
WHERE session.status = 'running'
ORDER BY session.id
