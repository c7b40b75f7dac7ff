-- Purpose: what runs for a provider now: its optimization session, of whatever billing period, and its device sync.
-- Parameters: service_provider_id, alive_since (timestamptz; a sync without a sign of life since then was killed).
-- Locks: none beyond reading.
-- Repeatable: reads only.
SELECT
    (
        SELECT session.id
        FROM amop.optimization_session AS session
        WHERE session.service_provider_id = %(service_provider_id)s AND session.status = 'running'
    ) AS session_id,
    (
        SELECT max(run.id)
        FROM amop.device_sync_run AS run
        WHERE
            run.service_provider_id = %(service_provider_id)s
            AND run.status = 'running'
            AND greatest(run.progress_at, run.heartbeat_at) >= %(alive_since)s
    ) AS sync_run_id
