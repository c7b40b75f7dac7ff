-- Purpose: return the active providers that can be optimized, by name.
-- Parameters: integrations (text[], names that the user may see).
-- Locks: none, reads only.
-- Repeatable: yes.
SELECT
    provider.id,
    provider.name,
    integration.name AS integration
FROM amop.service_provider AS provider
INNER JOIN amop.integration AS integration ON provider.integration_id = integration.id
WHERE provider.is_active AND integration.supports_optimization AND integration.name = any(%(integrations)s::text[])
ORDER BY provider.name, provider.id
