-- Purpose: count the active SIMs of a provider.
-- Parameters: service_provider_id.
-- Locks: none beyond reading.
-- Repeatable: reads only.
SELECT count(*) AS devices
FROM amop.device
WHERE service_provider_id = %(service_provider_id)s AND is_active
