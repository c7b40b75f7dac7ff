-- Purpose: a provider with its integration, for the checks on what an optimization was asked for.
-- Parameters: service_provider_id.
-- Locks: none beyond reading.
-- Repeatable: reads only.
SELECT
    provider.id,
    provider.name,
    provider.time_zone,
    provider.bill_period_end_day,
    provider.bill_period_end_hour,
    integration.name AS integration
FROM amop.service_provider AS provider
INNER JOIN amop.integration AS integration ON provider.integration_id = integration.id
WHERE provider.id = %(service_provider_id)s
