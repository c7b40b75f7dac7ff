-- Purpose: return a provider with its integration, to check the request of an optimization.
-- Parameters: service_provider_id.
-- Locks: none, reads only.
-- Repeatable: yes.
SELECT
    provider.id,
    provider.name,
    integration.name AS integration
FROM amop.service_provider AS provider
INNER JOIN amop.integration AS integration ON provider.integration_id = integration.id
WHERE provider.id = %(service_provider_id)s
