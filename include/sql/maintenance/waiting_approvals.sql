-- Purpose: list the sessions whose plan changes wait for an approval in a DAG run that Airflow still had.
-- Parameters: none.
-- Locks: none beyond reading.
-- Repeatable: reads only.
SELECT
    asked.id,
    integration.name AS integration,
    asked.opened_by,
    asked.approval_lost_at IS NOT NULL AS is_lost
FROM amop.optimization_session AS asked
INNER JOIN amop.service_provider AS provider ON asked.service_provider_id = provider.id
INNER JOIN amop.integration AS integration ON provider.integration_id = integration.id
INNER JOIN amop.optimization_instance AS instance ON asked.id = instance.session_id
WHERE
    provider.is_active
    AND asked.status = 'complete'
    AND instance.changes_status = 'waiting'
    AND amop.newer_instance(instance.id) IS NULL
    AND asked.dag_run_deleted_at IS NULL
ORDER BY asked.id
