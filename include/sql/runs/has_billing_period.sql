-- Purpose: check that a billing period belongs to a provider.
-- Parameters: billing_period_id, service_provider_id.
-- Locks: none beyond reading.
-- Repeatable: reads only.
SELECT exists(
    SELECT 1 FROM amop.billing_period
    WHERE id = %(billing_period_id)s AND service_provider_id = %(service_provider_id)s
) AS is_known
