-- Purpose: list the sessions that are the latest of their provider and have failed, and those with plan changes that
--   may be applied and wait for an approval or were not all sent, and whose DAG runs Airflow may have deleted.
-- Parameters: row_limit.
-- Locks: none beyond reading.
-- Repeatable: reads only.
SELECT
    unfinished.id,
    integration.name AS integration,
    unfinished.opened_by,
    instance.id IS NOT NULL AS has_instance
FROM amop.service_provider AS provider
INNER JOIN amop.integration AS integration ON provider.integration_id = integration.id
INNER JOIN amop.optimization_session AS unfinished ON provider.id = unfinished.service_provider_id
LEFT JOIN amop.optimization_instance AS instance ON unfinished.id = instance.session_id
WHERE
    provider.is_active
    AND unfinished.dag_run_deleted_at IS NULL
    AND (
        (
            unfinished.status = 'failed'
            AND NOT EXISTS (
                SELECT FROM amop.optimization_session AS newer
                WHERE newer.service_provider_id = provider.id AND newer.id > unfinished.id
            )
        )
        OR (
            instance.changes_status IN ('waiting', 'approved', 'stopped')
            AND amop.newer_instance(instance.id) IS NULL
        )
    )
ORDER BY unfinished.id DESC
LIMIT %(row_limit)s
