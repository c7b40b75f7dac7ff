-- Purpose: read the settings from which a provider's billing periods are derived.
-- Parameters: service_provider_id (bigint).
-- Locks: none beyond reading.
-- Repeatable: reads only.
SELECT
    id,
    bill_period_end_day,
    bill_period_end_hour,
    time_zone
FROM amop.service_provider
WHERE id = %(service_provider_id)s
