-- Purpose: list the optimization sessions that failed since a moment, except those that a failed sync run ended.
-- Parameters: since (timestamptz).
-- Locks: none beyond reading.
-- Repeatable: reads only.
SELECT
    session.id AS session_id,
    session.service_provider_id,
    provider.name AS provider,
    provider.time_zone,
    session.error,
    session.ended_at
FROM amop.optimization_session AS session
INNER JOIN amop.service_provider AS provider ON session.service_provider_id = provider.id
WHERE
    session.status = 'failed' AND session.ended_at > %(since)s
    AND NOT EXISTS (
        SELECT 1 FROM amop.device_sync_run AS run
        WHERE run.optimization_session_id = session.id AND run.status IN ('failed', 'refused')
    )
ORDER BY session.id
