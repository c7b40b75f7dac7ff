-- Purpose: list the communication plans that were added since a moment and have no rate plan, by provider and sync.
-- Parameters: since (timestamptz).
-- Locks: none beyond reading.
-- Repeatable: reads only.
SELECT
    plan.service_provider_id,
    provider.name AS provider,
    plan.added_at,
    array_agg(plan.name ORDER BY plan.name) AS names
FROM amop.communication_plan AS plan
INNER JOIN amop.service_provider AS provider ON plan.service_provider_id = provider.id
WHERE
    plan.added_at > %(since)s
    AND NOT EXISTS (
        SELECT 1 FROM amop.communication_plan_rate_plan AS mapping
        WHERE mapping.communication_plan_id = plan.id
    )
GROUP BY plan.service_provider_id, provider.name, plan.added_at
ORDER BY plan.added_at, plan.service_provider_id
