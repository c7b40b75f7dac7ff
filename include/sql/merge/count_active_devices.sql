-- Purpose: how large the fleet of a provider is.
-- Parameters: service_provider_id.
-- Locks: none beyond reading.
-- Repeatable: reads only.
SELECT count(*) AS devices
FROM amop.device
WHERE service_provider_id = %(service_provider_id)s AND is_active
