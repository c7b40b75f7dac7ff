-- Purpose: read the latest device sync run of every provider, the number of its remaining work rows, and when the
--   provider was last synced with success; replays of the archive are excluded.
-- Parameters: none.
-- Locks: none beyond reading.
-- Repeatable: reads only.
SELECT
    latest.id,
    latest.service_provider_id,
    provider.name AS service_provider,
    latest.dag_run_id,
    latest.status,
    latest.started_at,
    latest.ended_at,
    (
        SELECT max(complete.ended_at) FROM amop.device_sync_run AS complete
        WHERE
            complete.service_provider_id = provider.id
            AND complete.status = 'complete' AND complete.replayed_run_id IS NULL
    ) AS last_success_at,
    latest.pages,
    latest.devices_seen,
    latest.error,
    latest.warnings || latest.report_warnings AS warnings,
    (
        SELECT count(*) FROM amop.device_usage_to_process AS work
        WHERE work.run_id = latest.id
    ) AS work_rows_left
FROM amop.service_provider AS provider
CROSS JOIN
    LATERAL (
        SELECT run.*
        FROM amop.device_sync_run AS run
        WHERE run.service_provider_id = provider.id AND run.replayed_run_id IS NULL
        ORDER BY run.id DESC
        LIMIT 1
    ) AS latest
ORDER BY provider.id
