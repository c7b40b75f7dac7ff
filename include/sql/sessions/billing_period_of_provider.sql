-- Purpose: is a billing period one of a provider's.
-- Parameters: billing_period_id, service_provider_id.
-- Locks: none beyond reading.
-- Repeatable: reads only.
SELECT id
FROM amop.billing_period
WHERE id = %(billing_period_id)s AND service_provider_id = %(service_provider_id)s
