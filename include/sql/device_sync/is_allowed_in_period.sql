-- Purpose: return whether an operator has let an implausible run of a billing period pass.
-- Parameters: service_provider_id, billing_period_id, run_id (the run that is about to merge: excluded).
-- Locks: none beyond reading.
-- Repeatable: reads only.
SELECT count(*) > 0 AS is_allowed
FROM amop.device_sync_run
WHERE
    service_provider_id = %(service_provider_id)s
    AND billing_period_id = %(billing_period_id)s
    AND id <> %(run_id)s
    AND allows_implausible
    AND usage_merged_at IS NOT NULL
