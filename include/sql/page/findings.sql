-- Purpose: return the findings of the providers' latest checks, or those that users dismissed, the most money first,
--   each with the session of the provider whose plan changes wait for an approval.
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
    finding.dismissed_by,
    approval.session_id AS approval_session_id
FROM amop.finding AS finding
INNER JOIN amop.service_provider AS provider ON finding.service_provider_id = provider.id
INNER JOIN amop.integration AS integration ON provider.integration_id = integration.id
LEFT JOIN LATERAL (
    SELECT asked.id AS session_id
    FROM amop.optimization_session AS asked
    INNER JOIN amop.optimization_instance AS instance ON asked.id = instance.session_id
    WHERE
        asked.service_provider_id = provider.id
        AND instance.changes_status = 'waiting'
        AND amop.newer_instance(instance.id) IS NULL
    ORDER BY asked.id DESC
    LIMIT 1
) AS approval ON true
WHERE
    provider.is_active
    AND integration.name = any(%(integrations)s::text[])
    AND provider.id = coalesce(%(service_provider_id)s::bigint, provider.id)
    AND (finding.dismissed_at IS NOT NULL) = %(dismissed)s
ORDER BY finding.amount DESC, provider.name ASC, finding.kind ASC, finding.subject ASC
