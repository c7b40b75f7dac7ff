-- Purpose: return when a provider was last checked for findings; null where none was.
-- Parameters: integrations (text[], names that the user may see), service_provider_id (null = all).
-- Locks: none, reads only.
-- Repeatable: yes.
SELECT max(checked.checked_at) AS checked_at
FROM amop.finding_check AS checked
INNER JOIN amop.service_provider AS provider ON checked.service_provider_id = provider.id
INNER JOIN amop.integration AS integration ON provider.integration_id = integration.id
WHERE
    provider.is_active
    AND integration.name = any(%(integrations)s::text[])
    AND provider.id = coalesce(%(service_provider_id)s::bigint, provider.id)
