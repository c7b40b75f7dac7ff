-- Purpose: list the running optimization sessions whose sync does not run: their optimization runs, or is to start.
-- Parameters: none.
-- Locks: none beyond reading.
-- Repeatable: reads only.
SELECT
    session.id,
    session.service_provider_id,
    provider.name AS service_provider_name,
    integration.name AS integration,
    session.opened_by,
    session.progress,
    sync.dag_id AS sync_dag_id,
    sync.dag_run_id AS sync_dag_run_id
FROM amop.optimization_session AS session
INNER JOIN amop.service_provider AS provider ON session.service_provider_id = provider.id
INNER JOIN amop.integration AS integration ON provider.integration_id = integration.id
LEFT JOIN LATERAL (
    SELECT
        run.dag_id,
        run.dag_run_id
    FROM amop.device_sync_run AS run
    WHERE run.optimization_session_id = session.id
    ORDER BY run.id DESC
    LIMIT 1
) AS sync ON true
WHERE
    session.status = 'running'
    AND NOT EXISTS (
        SELECT 1 FROM amop.device_sync_run AS run
        WHERE run.optimization_session_id = session.id AND (run.status = 'running' OR run.is_one_process)
    )
ORDER BY session.id
