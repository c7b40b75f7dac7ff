-- Purpose: return whether an operator has let an implausible run of a billing period pass.
-- Parameters: service_provider_id, billing_period_id, run_id (the run that is about to merge: excluded).
-- Locks: none beyond reading.
-- Repeatable: reads only.
SELECT EXISTS (
    SELECT 1 FROM amop.device_sync_run AS run
    WHERE
        run.service_provider_id = %(service_provider_id)s
        AND run.billing_period_id = %(billing_period_id)s
        AND run.id <> %(run_id)s
        AND run.allows_implausible
        AND run.usage_merged_at IS NOT NULL
) AS is_allowed
