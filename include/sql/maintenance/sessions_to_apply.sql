-- Purpose: list the sessions whose plan changes are approved and were not all sent, in a DAG run that Airflow still
--   had. Where applying has stopped with an error, that is known already.
-- Parameters: none.
-- Locks: none beyond reading.
-- Repeatable: reads only.
SELECT
    approved.id,
    integration.name AS integration,
    approved.opened_by,
    approved.applying_lost_at IS NOT NULL AS is_lost
FROM amop.optimization_session AS approved
INNER JOIN amop.service_provider AS provider ON approved.service_provider_id = provider.id
INNER JOIN amop.integration AS integration ON provider.integration_id = integration.id
INNER JOIN amop.optimization_instance AS instance ON approved.id = instance.session_id
WHERE
    provider.is_active
    AND approved.status = 'complete'
    AND instance.changes_status = 'approved'
    AND amop.newer_instance(instance.id) IS NULL
    AND approved.dag_run_deleted_at IS NULL
    AND EXISTS (
        SELECT FROM amop.rate_plan_change AS change
        WHERE change.instance_id = instance.id AND change.state = 'approved'
    )
ORDER BY approved.id
