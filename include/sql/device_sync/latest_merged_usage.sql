-- Purpose: return the latest reading of usage that was merged for a provider: its billing period and its moment.
-- Parameters: service_provider_id, run_id (the run that is about to merge: excluded).
-- Locks: none beyond reading.
-- Repeatable: reads only.
SELECT
    run.billing_period_id,
    run.usage_as_of,
    period.cycle_start
FROM amop.device_sync_run AS run
INNER JOIN amop.billing_period AS period ON run.billing_period_id = period.id
WHERE
    run.service_provider_id = %(service_provider_id)s
    AND run.id <> %(run_id)s
    AND run.replayed_run_id IS NULL
    AND run.usage_merged_at IS NOT NULL
    AND run.usage_as_of IS NOT NULL
ORDER BY run.usage_as_of DESC
LIMIT 1
