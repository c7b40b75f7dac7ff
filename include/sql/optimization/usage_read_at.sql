-- Purpose: return when the usage of a billing period in the warehouse was read from the carrier.
-- Parameters: service_provider_id, billing_period_id.
-- Locks: none, reads only.
-- Repeatable: yes.
SELECT usage_as_of
FROM amop.device_sync_run
WHERE
    service_provider_id = %(service_provider_id)s
    AND billing_period_id = %(billing_period_id)s
    AND usage_merged_at IS NOT NULL
    AND usage_as_of IS NOT NULL
ORDER BY usage_as_of DESC
LIMIT 1
