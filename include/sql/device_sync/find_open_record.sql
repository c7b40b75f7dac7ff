-- Purpose: return the id of an unresolved quarantined record of some integrations, null where there is none.
-- Parameters: record_id, integrations (text[], names).
-- Locks: none, reads only.
-- Repeatable: yes.
SELECT rejected.id
FROM amop.device_quarantine AS rejected
INNER JOIN amop.device_sync_run AS run ON rejected.run_id = run.id
INNER JOIN amop.service_provider AS provider ON run.service_provider_id = provider.id
INNER JOIN amop.integration AS integration ON provider.integration_id = integration.id
WHERE
    rejected.id = %(record_id)s
    AND rejected.resolved_at IS NULL
    AND integration.name = any(%(integrations)s::text[])
