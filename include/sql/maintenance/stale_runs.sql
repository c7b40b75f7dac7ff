-- Purpose: list and lock the running device sync runs without progress and without a heartbeat since a moment.
--   A run whose clean-up a queue message has started is waited for as long as the message says.
-- Parameters: stale_since (timestamptz).
-- Locks: the returned rows, until the transaction ends; a locked run is being changed by a live process: skipped.
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
    AND greatest(run.progress_at, run.heartbeat_at) < %(stale_since)s
    AND NOT EXISTS (
        SELECT 1 FROM amop.queue_message AS message
        WHERE
            message.run_id = run.id
            AND message.received_at + message.max_tries * message.delay_seconds * interval '1 second' > %(stale_since)s
    )
ORDER BY run.id
FOR UPDATE OF run SKIP LOCKED
