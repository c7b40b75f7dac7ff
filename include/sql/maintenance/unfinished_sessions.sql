-- Purpose: list the sessions that are the latest of their provider, and have failed or have plan changes that wait for
--   an approval or were not all sent, and whose DAG runs Airflow may have deleted.
-- Parameters: row_limit.
-- Locks: none beyond reading.
-- Repeatable: reads only.
SELECT
    latest.id,
    integration.name AS integration,
    latest.opened_by,
    instance.id IS NOT NULL AS has_instance
FROM amop.service_provider AS provider
INNER JOIN amop.integration AS integration ON provider.integration_id = integration.id
CROSS JOIN
    LATERAL (
        SELECT opened.*
        FROM amop.optimization_session AS opened
        WHERE opened.service_provider_id = provider.id
        ORDER BY opened.id DESC
        LIMIT 1
    ) AS latest
LEFT JOIN amop.optimization_instance AS instance ON latest.id = instance.session_id
WHERE
    provider.is_active
    AND (latest.status = 'failed' OR instance.changes_status IN ('waiting', 'approved', 'stopped'))
    AND latest.dag_run_deleted_at IS NULL
ORDER BY latest.id DESC
LIMIT %(row_limit)s
