-- Purpose: list the service providers that a run of one integration covers.
-- Parameters: integration (text), service_provider_ids (bigint[], empty = all active ones).
-- Locks: none beyond reading.
-- Repeatable: reads only.
SELECT
    provider.id,
    provider.name,
    provider.connection_id,
    provider.time_zone,
    provider.bill_period_end_day,
    provider.bill_period_end_hour,
    provider.optimization_start_hour_local,
    provider.is_active,
    integration.supports_optimization
FROM amop.service_provider AS provider
INNER JOIN amop.integration AS integration ON provider.integration_id = integration.id
WHERE
    integration.name = %(integration)s
    AND (
        (provider.is_active AND cardinality(%(service_provider_ids)s::bigint[]) = 0)
        OR provider.id = any(%(service_provider_ids)s::bigint[])
    )
ORDER BY provider.id
