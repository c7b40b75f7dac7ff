-- Purpose: read the stored billing period of a provider that contains a moment.
-- Parameters: service_provider_id (bigint), moment (timestamptz).
-- Locks: none beyond reading.
-- Repeatable: reads only.
SELECT
    id,
    service_provider_id,
    bill_year,
    bill_month,
    cycle_start,
    cycle_end
FROM amop.billing_period
WHERE
    service_provider_id = %(service_provider_id)s
    AND cycle_start <= %(moment)s
    AND cycle_end > %(moment)s
ORDER BY cycle_start
LIMIT 1
