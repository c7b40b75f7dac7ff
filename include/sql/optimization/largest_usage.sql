-- Purpose: the SIM with the largest usage of a provider, to name it when its projection is beyond any number.
-- Parameters: service_provider_id, billing_period_id, usage_as_of.
-- Locks: none beyond reading.
-- Repeatable: reads only.
SELECT
    iccid,
    data_usage
FROM amop.eligible_device(%(service_provider_id)s, %(billing_period_id)s, %(usage_as_of)s)
ORDER BY data_usage DESC
LIMIT 1
