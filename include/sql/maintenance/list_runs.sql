-- Purpose: list device sync runs, newest first; replays of the archive are excluded.
-- Parameters: run_id (or null = all), service_provider_id (or null = all), row_limit.
-- Locks: none beyond reading.
-- Repeatable: reads only.
SELECT
    run.id,
    run.service_provider_id,
    provider.name AS service_provider,
    run.dag_id,
    run.dag_run_id,
    run.attempt,
    run.status,
    run.started_at,
    run.ended_at,
    greatest(run.progress_at, run.heartbeat_at) AS alive_at,
    run.pages,
    run.devices_seen,
    (
        SELECT count(*) FROM amop.device_usage_to_process AS work
        WHERE work.run_id = run.id
    ) AS work_rows_left,
    run.list_is_complete,
    run.devices_merged_at,
    run.usage_merged_at,
    run.staging_removed_at,
    coalesce(run.dag_run_deleted_at >= run.ended_at, false) AS is_deleted,
    (
        SELECT max(newer.id) FROM amop.device_sync_run AS newer
        WHERE
            newer.service_provider_id = run.service_provider_id
            AND newer.id > run.id
            AND (newer.devices_merged_at IS NOT NULL OR newer.usage_merged_at IS NOT NULL)
    ) AS newer_merged_run_id,
    run.optimization_session_id,
    integration.supports_optimization,
    run.warnings || run.report_warnings AS warnings,
    run.error
FROM amop.device_sync_run AS run
INNER JOIN amop.service_provider AS provider ON run.service_provider_id = provider.id
INNER JOIN amop.integration AS integration ON provider.integration_id = integration.id
WHERE
    run.replayed_run_id IS NULL
    AND (%(run_id)s::bigint IS NULL OR run.id = %(run_id)s)
    AND (%(service_provider_id)s::bigint IS NULL OR run.service_provider_id = %(service_provider_id)s)
ORDER BY run.id DESC
LIMIT %(row_limit)s
