-- Purpose: find and lock the run that holds a provider; replays of the archive hold none.
-- Parameters: service_provider_id (bigint).
-- Locks: the run's row, so that its holder cannot end it meanwhile.
-- Repeatable: reads only.
SELECT
    id,
    dag_id,
    dag_run_id,
    started_at,
    greatest(progress_at, heartbeat_at) AS alive_at,
    is_one_process,
    billing_period_id,
    is_full,
    modified_since
FROM amop.device_sync_run
WHERE service_provider_id = %(service_provider_id)s AND status = 'running' AND replayed_run_id IS NULL
FOR UPDATE
