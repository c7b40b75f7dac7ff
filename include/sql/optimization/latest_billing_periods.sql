-- Purpose: the latest billing periods of a provider, to name them where a wrong one was asked for.
-- Parameters: service_provider_id.
-- Locks: none beyond reading.
-- Repeatable: reads only.
SELECT
    id,
    cycle_end
FROM amop.billing_period
WHERE service_provider_id = %(service_provider_id)s
ORDER BY cycle_end DESC
LIMIT 6
