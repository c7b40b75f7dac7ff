-- Purpose: return the number and the money of everything that the providers' latest checks found, by provider and kind;
--   the findings themselves are the part with the most money.
-- Parameters: integrations (text[], names that the user may see), service_provider_id (null = all).
-- Locks: none, reads only.
-- Repeatable: yes.
SELECT
    provider.id AS service_provider_id,
    provider.name AS provider,
    provider.currency,
    checked.checked_at,
    total.kind,
    (total.figures ->> 'found')::bigint AS found,
    (total.figures ->> 'amount')::numeric AS amount
FROM amop.finding_check AS checked
INNER JOIN amop.service_provider AS provider ON checked.service_provider_id = provider.id
INNER JOIN amop.integration AS integration ON provider.integration_id = integration.id
CROSS JOIN LATERAL jsonb_each(checked.totals) AS total (kind, figures)
WHERE
    provider.is_active
    AND integration.name = any(%(integrations)s::text[])
    AND provider.id = coalesce(%(service_provider_id)s::bigint, provider.id)
ORDER BY amount DESC, provider.name ASC, total.kind ASC
