-- Purpose: one billing period, and whose it is.
-- Parameters: billing_period_id.
-- Locks: none beyond reading.
-- Repeatable: reads only.
SELECT
    id,
    service_provider_id,
    cycle_start,
    cycle_end
FROM amop.billing_period
WHERE id = %(billing_period_id)s
