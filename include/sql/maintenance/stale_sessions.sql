-- Purpose: list and lock the running sessions without a heartbeat since a moment; the heartbeats of their device sync
--   count as theirs.
--   A session whose clean-up a queue message has started is waited for as long as the message says.
-- Parameters: stale_since (timestamptz).
-- Locks: the returned rows, until the transaction ends; a locked session is being changed by a live process: skipped.
-- Repeatable: changes nothing.
SELECT
    session.id,
    session.service_provider_id,
    provider.name AS service_provider_name,
    integration.name AS integration,
    session.opened_by,
    session.progress,
    greatest(session.heartbeat_at, sync.alive_at) AS alive_at
FROM amop.optimization_session AS session
INNER JOIN amop.service_provider AS provider ON session.service_provider_id = provider.id
INNER JOIN amop.integration AS integration ON provider.integration_id = integration.id
CROSS JOIN
    LATERAL (
        SELECT max(greatest(run.progress_at, run.heartbeat_at, run.ended_at)) AS alive_at
        FROM amop.device_sync_run AS run
        WHERE run.optimization_session_id = session.id
    ) AS sync
WHERE
    session.status = 'running'
    AND greatest(session.heartbeat_at, sync.alive_at) < %(stale_since)s
    AND NOT EXISTS (
        SELECT 1
        FROM amop.device_sync_run AS waiting
        INNER JOIN amop.queue_message AS message ON waiting.id = message.run_id
        WHERE
            waiting.optimization_session_id = session.id
            AND waiting.status = 'running'
            AND message.received_at + message.max_tries * message.delay_seconds * interval '1 second' > %(stale_since)s
    )
ORDER BY session.id
FOR UPDATE OF session SKIP LOCKED
