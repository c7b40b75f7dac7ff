-- Purpose: running sessions without a sign of life since a moment; those of their device sync are theirs, too.
-- Parameters: silent_since (timestamptz).
-- Locks: the rows found, until the transaction ends; a session that is being changed at this moment is alive: skipped.
-- Repeatable: changes nothing.
SELECT
    session.id,
    session.service_provider_id,
    provider.name AS service_provider_name,
    integration.name AS integration,
    session.opened_by,
    session.progress,
    greatest(session.heartbeat_at, sync.alive_at) AS alive_at
FROM amop.optimization_session AS session
INNER JOIN amop.service_provider AS provider ON session.service_provider_id = provider.id
INNER JOIN amop.integration AS integration ON provider.integration_id = integration.id
CROSS JOIN
    LATERAL (
        SELECT max(greatest(run.progress_at, run.heartbeat_at, run.ended_at)) AS alive_at
        FROM amop.device_sync_run AS run
        WHERE run.optimization_session_id = session.id
    ) AS sync
WHERE
    session.status = 'running'
    AND greatest(session.heartbeat_at, sync.alive_at) < %(silent_since)s
ORDER BY session.id
FOR UPDATE OF session SKIP LOCKED
