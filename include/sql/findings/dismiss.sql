-- Purpose: dismiss a finding: it is not shown again until it occurs anew.
-- Parameters: finding_id, integrations (text[], names of those that the user may change), dismissed_by (the user's
--   name), now.
-- Locks: the finding's row.
-- Repeatable: the first dismissal stays.
UPDATE amop.finding AS finding
SET
    dismissed_at = coalesce(finding.dismissed_at, %(now)s),
    dismissed_by = coalesce(finding.dismissed_by, %(dismissed_by)s)
FROM amop.service_provider AS provider
INNER JOIN amop.integration AS integration ON provider.integration_id = integration.id
WHERE
    finding.id = %(finding_id)s
    AND finding.service_provider_id = provider.id
    AND integration.name = any(%(integrations)s::text[])
