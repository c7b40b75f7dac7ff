-- Purpose: return the codes of all rate plans of a provider, retired ones included.
-- Parameters: service_provider_id.
-- Locks: none, reads only.
-- Repeatable: yes.
SELECT rate_plan_code
FROM amop.carrier_rate_plan
WHERE service_provider_id = %(service_provider_id)s
ORDER BY rate_plan_code
