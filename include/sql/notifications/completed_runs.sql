-- Purpose: list the sync runs that were completed since a moment, with the summary that each stored.
-- Parameters: since (timestamptz).
-- Locks: none beyond reading.
-- Repeatable: reads only.
SELECT
    run.id AS run_id,
    provider.name AS provider,
    run.dag_id,
    run.dag_run_id,
    run.summary
FROM amop.device_sync_run AS run
INNER JOIN amop.service_provider AS provider ON run.service_provider_id = provider.id
WHERE run.status = 'complete' AND run.ended_at > %(since)s AND run.replayed_run_id IS NULL AND run.summary IS NOT NULL
ORDER BY run.id
