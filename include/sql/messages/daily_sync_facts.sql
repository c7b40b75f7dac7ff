-- Purpose: read the fields of a provider's daily-sync notice.
-- Parameters: service_provider_id.
-- Locks: none beyond reading.
-- Repeatable: reads only.
SELECT
    integration.daily_sync_key,
    tenant.id AS tenant_id,
    tenant.name AS tenant_name
FROM amop.service_provider AS provider
INNER JOIN amop.integration AS integration ON provider.integration_id = integration.id
INNER JOIN amop.tenant AS tenant ON provider.tenant_id = tenant.id
WHERE provider.id = %(service_provider_id)s
