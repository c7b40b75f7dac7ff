-- Purpose: list the service providers with the end of their current billing period.
-- Parameters: now (timestamptz).
-- Locks: none beyond reading.
-- Repeatable: reads only.
SELECT
    provider.id,
    provider.name,
    tenant.name AS tenant,
    integration.name AS integration,
    provider.is_active,
    period.cycle_end AS billing_period_end
FROM amop.service_provider AS provider
INNER JOIN amop.tenant AS tenant ON provider.tenant_id = tenant.id
INNER JOIN amop.integration AS integration ON provider.integration_id = integration.id
LEFT JOIN amop.billing_period AS period
    ON
        provider.id = period.service_provider_id
        AND period.cycle_start <= %(now)s
        AND period.cycle_end > %(now)s
ORDER BY provider.id
