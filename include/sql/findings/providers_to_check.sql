-- Purpose: return the active providers with a complete sync that was not checked yet, by id.
-- Parameters: none.
-- Locks: none, reads only.
-- Repeatable: yes; a provider is returned until its check is recorded.
SELECT
    provider.id AS service_provider_id,
    provider.name AS service_provider_name
FROM amop.service_provider AS provider
INNER JOIN LATERAL (
    SELECT run.id FROM amop.device_sync_run AS run
    WHERE run.service_provider_id = provider.id AND run.status = 'complete' AND run.replayed_run_id IS NULL
    ORDER BY run.id DESC
    LIMIT 1
) AS latest ON true
LEFT JOIN amop.finding_check AS checked ON provider.id = checked.service_provider_id
WHERE provider.is_active AND latest.id > coalesce(checked.run_id, 0)
ORDER BY provider.id
