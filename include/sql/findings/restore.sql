-- Purpose: take the dismissal of a finding back.
-- Parameters: finding_id, integrations (text[], names of those that the user may change).
-- Locks: the finding's row.
-- Repeatable: yes.
UPDATE amop.finding AS finding
SET
    dismissed_at = NULL,
    dismissed_by = NULL
FROM amop.service_provider AS provider
INNER JOIN amop.integration AS integration ON provider.integration_id = integration.id
WHERE
    finding.id = %(finding_id)s
    AND finding.service_provider_id = provider.id
    AND integration.name = any(%(integrations)s::text[])
