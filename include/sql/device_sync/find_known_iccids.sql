-- Purpose: return which of the given SIMs the provider has.
-- Parameters: service_provider_id, iccids (text[]).
-- Locks: none beyond reading.
-- Repeatable: reads only.
SELECT iccid
FROM amop.device
WHERE service_provider_id = %(service_provider_id)s AND iccid = any(%(iccids)s::text[])
