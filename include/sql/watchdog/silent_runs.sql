-- Purpose: running device sync runs without progress and without a sign of life since a moment.
-- Parameters: silent_since (timestamptz).
-- Locks: the rows found, until the transaction ends; a run that is being changed at this moment is alive: skipped.
-- Repeatable: changes nothing.
SELECT
    run.id,
    run.dag_id,
    run.dag_run_id,
    run.service_provider_id,
    provider.name AS service_provider_name,
    run.pages,
    greatest(run.progress_at, run.heartbeat_at) AS alive_at
FROM amop.device_sync_run AS run
INNER JOIN amop.service_provider AS provider ON run.service_provider_id = provider.id
WHERE
    run.status = 'running'
    AND greatest(run.progress_at, run.heartbeat_at) < %(silent_since)s
ORDER BY run.id
FOR UPDATE OF run SKIP LOCKED
