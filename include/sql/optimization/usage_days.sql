-- Purpose: return the usage days of a provider up to a moment: for each billing period and local date on which a sync
--   merged usage, or whose usage a back-fill replayed, the time from the previous sync (or the cycle's start) to the
--   last sync of that date. Includes those of the present cycle, and those of earlier ones that ended within the
--   look-back.
-- Parameters: service_provider_id, billing_period_id, usage_as_of, begins_after (the look-back), time_zone.
-- Locks: none, reads only.
-- Repeatable: yes; later syncs do not change days that ended before usage_as_of.
SELECT
    day.usage_date,
    day.billing_period_id,
    day.begins_at,
    day.ends_at
FROM (
    SELECT
        merged.usage_date,
        merged.billing_period_id,
        merged.ends_at,
        coalesce(
            lag(merged.ends_at) OVER (PARTITION BY merged.billing_period_id ORDER BY merged.usage_date),
            merged.cycle_start
        ) AS begins_at
    FROM (
        SELECT
            period.id AS billing_period_id,
            period.cycle_start,
            (run.usage_as_of AT TIME ZONE %(time_zone)s)::date AS usage_date,
            max(least(run.usage_as_of, period.cycle_end)) AS ends_at
        FROM amop.device_sync_run AS run
        INNER JOIN amop.billing_period AS period ON run.billing_period_id = period.id
        WHERE
            run.service_provider_id = %(service_provider_id)s
            AND (run.usage_merged_at IS NOT NULL OR (run.replayed_run_id IS NOT NULL AND run.status = 'complete'))
            AND run.usage_as_of <= %(usage_as_of)s
        GROUP BY period.id, period.cycle_start, usage_date
    ) AS merged
) AS day
WHERE
    day.begins_at < day.ends_at
    AND (day.billing_period_id = %(billing_period_id)s OR day.ends_at > %(begins_after)s)
ORDER BY day.ends_at
