-- Purpose: list the billing periods of a provider, newest first.
-- Parameters: service_provider_id, row_limit.
-- Locks: none beyond reading.
-- Repeatable: reads only.
SELECT
    id,
    bill_year,
    bill_month,
    cycle_start,
    cycle_end
FROM amop.billing_period
WHERE service_provider_id = %(service_provider_id)s
ORDER BY cycle_end DESC
LIMIT %(row_limit)s
