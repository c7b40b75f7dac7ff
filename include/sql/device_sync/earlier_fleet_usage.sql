-- Purpose: return the total usage of a provider's fleet as the merged runs of earlier billing periods have read it, the
--   latest reading last.
-- Parameters: service_provider_id, cycle_start (of the period that is judged).
-- Locks: none beyond reading.
-- Repeatable: reads only.
SELECT
    fleet.usage_type,
    run.billing_period_id,
    run.usage_as_of - period.cycle_start AS elapsed,
    fleet.sim_count,
    fleet.used_count,
    fleet.total
FROM amop.device_sync_run AS run
INNER JOIN amop.billing_period AS period ON run.billing_period_id = period.id
INNER JOIN amop.fleet_usage AS fleet ON run.id = fleet.run_id
WHERE
    run.service_provider_id = %(service_provider_id)s
    AND run.usage_merged_at IS NOT NULL
    AND run.usage_as_of > period.cycle_start
    AND period.cycle_start < %(cycle_start)s
ORDER BY run.usage_as_of, fleet.usage_type
