-- Purpose: return the latest billing periods of a provider, to name them in an error.
-- Parameters: service_provider_id.
-- Locks: none, reads only.
-- Repeatable: yes.
SELECT
    id,
    cycle_end
FROM amop.billing_period
WHERE service_provider_id = %(service_provider_id)s
ORDER BY cycle_end DESC
LIMIT 6
