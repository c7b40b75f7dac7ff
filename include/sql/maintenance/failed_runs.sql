-- Purpose: list the failed or refused sync runs that are the latest of their provider and whose DAG run Airflow may
--   have deleted: not those of which that is known, nor those that Airflow does not have anyway (see running_runs).
-- Parameters: existing_system_dag_id, row_limit.
-- Locks: none beyond reading.
-- Repeatable: reads only.
SELECT
    latest.id,
    latest.dag_id,
    latest.dag_run_id
FROM amop.service_provider AS provider
CROSS JOIN
    LATERAL (
        SELECT run.*
        FROM amop.device_sync_run AS run
        WHERE run.service_provider_id = provider.id AND run.replayed_run_id IS NULL
        ORDER BY run.started_at DESC, run.id DESC
        LIMIT 1
    ) AS latest
WHERE
    provider.is_active
    AND latest.status IN ('failed', 'refused')
    AND NOT latest.is_one_process
    AND latest.dag_id <> %(existing_system_dag_id)s
    AND NOT starts_with(latest.dag_run_id, '__airflow_temporary_run_')
    AND (latest.dag_run_deleted_at IS NULL OR latest.dag_run_deleted_at < latest.ended_at)
ORDER BY latest.ended_at DESC, latest.id ASC
LIMIT %(row_limit)s
