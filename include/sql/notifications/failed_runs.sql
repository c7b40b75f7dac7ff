-- Purpose: list the sync runs that failed or were refused since a moment; replays of the archive and trials of one task
--   (`airflow tasks test`) are excluded.
-- Parameters: since (timestamptz).
-- Locks: none beyond reading.
-- Repeatable: reads only.
SELECT
    run.service_provider_id,
    provider.name AS provider,
    provider.time_zone,
    run.error,
    run.dag_id,
    run.dag_run_id,
    coalesce(run.dag_run_deleted_at >= run.ended_at, false) AS is_deleted,
    run.ended_at
FROM amop.device_sync_run AS run
INNER JOIN amop.service_provider AS provider ON run.service_provider_id = provider.id
WHERE
    run.status IN ('failed', 'refused') AND run.ended_at > %(since)s AND run.replayed_run_id IS NULL
    AND NOT starts_with(run.dag_run_id, '__airflow_temporary_run_')
ORDER BY run.id
