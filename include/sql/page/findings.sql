-- Purpose: return the findings of the providers' latest checks, or those that users dismissed, the most money first.
-- Parameters: integrations (text[], names that the user may see), service_provider_id (null = all), dismissed
--   (boolean).
-- Locks: none, reads only.
-- Repeatable: yes.
SELECT
    finding.id,
    finding.service_provider_id,
    provider.name AS provider,
    provider.currency,
    integration.name AS integration,
    finding.kind,
    finding.subject,
    finding.device_id,
    finding.amount,
    finding.facts,
    finding.first_found_at,
    finding.dismissed_at,
    finding.dismissed_by
FROM amop.finding AS finding
INNER JOIN amop.service_provider AS provider ON finding.service_provider_id = provider.id
INNER JOIN amop.integration AS integration ON provider.integration_id = integration.id
WHERE
    provider.is_active
    AND integration.name = any(%(integrations)s::text[])
    AND provider.id = coalesce(%(service_provider_id)s::bigint, provider.id)
    AND (finding.dismissed_at IS NOT NULL) = %(dismissed)s
ORDER BY finding.amount DESC, provider.name ASC, finding.kind ASC, finding.subject ASC
