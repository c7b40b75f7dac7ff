-- Purpose: list the active providers with the start of their last complete sync and the end of their last failed one.
-- Parameters: none.
-- Locks: none beyond reading.
-- Repeatable: reads only.
SELECT
    provider.id AS service_provider_id,
    provider.name AS provider,
    provider.time_zone,
    integration.name AS integration,
    max(run.started_at) FILTER (WHERE run.status = 'complete') AS complete_started_at,
    max(run.ended_at) FILTER (WHERE run.status IN ('failed', 'refused')) AS failed_at
FROM amop.service_provider AS provider
INNER JOIN amop.integration AS integration ON provider.integration_id = integration.id
LEFT JOIN amop.device_sync_run AS run ON provider.id = run.service_provider_id AND run.replayed_run_id IS NULL
WHERE provider.is_active
GROUP BY provider.id, integration.name
ORDER BY provider.id
