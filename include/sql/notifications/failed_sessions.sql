-- Purpose: list the optimization sessions that failed since a moment, except those that a failed sync ended: their
--   cause is that of the sync, also after the sync was resumed with a session of its own. Such a session was opened by
--   a sync (its opener is `<dag>/<dag run>`, with `#<attempt>` from the second on) that was not complete at that time.
-- Parameters: since (timestamptz).
-- Locks: none beyond reading.
-- Repeatable: reads only.
SELECT
    session.id AS session_id,
    session.service_provider_id,
    provider.name AS provider,
    provider.time_zone,
    integration.name AS integration,
    session.error,
    session.dag_run_deleted_at IS NOT NULL AS is_deleted,
    session.ended_at
FROM amop.optimization_session AS session
INNER JOIN amop.service_provider AS provider ON session.service_provider_id = provider.id
INNER JOIN amop.integration AS integration ON provider.integration_id = integration.id
WHERE
    session.status = 'failed' AND session.ended_at > %(since)s
    AND NOT EXISTS (
        SELECT 1 FROM amop.device_sync_run AS run
        WHERE
            run.service_provider_id = session.service_provider_id
            AND (
                run.optimization_session_id = session.id
                OR session.opened_by = run.dag_id || '/' || run.dag_run_id
                OR starts_with(session.opened_by, run.dag_id || '/' || run.dag_run_id || '#')
            )
            AND (run.status <> 'complete' OR run.ended_at > session.ended_at)
    )
ORDER BY session.id
