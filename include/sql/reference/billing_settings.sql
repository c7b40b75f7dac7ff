-- Purpose: what a provider's billing periods are derived from.
-- Parameters: service_provider_id (bigint).
-- Locks: none beyond reading.
-- Repeatable: reads only.
SELECT
    id,
    name,
    time_zone,
    bill_period_end_day,
    bill_period_end_hour
FROM amop.service_provider
WHERE id = %(service_provider_id)s
