-- Purpose: return what a check of a provider works on: its latest complete sync, the billing period of it, and the time
--   that its recent usage and the history before cover. The recent usage is that since the last sync before the recent
--   days began, so that missed syncs do not make it look larger. Null where the provider has no complete sync.
-- Parameters: service_provider_id, recent_days, history_days.
-- Locks: none, reads only.
-- Repeatable: yes.
WITH latest AS (
    SELECT
        run.id AS run_id,
        run.usage_as_of,
        run.billing_period_id,
        provider.time_zone,
        (run.usage_as_of AT TIME ZONE provider.time_zone)::date AS usage_date
    FROM amop.device_sync_run AS run
    INNER JOIN amop.service_provider AS provider ON run.service_provider_id = provider.id
    WHERE
        provider.id = %(service_provider_id)s
        AND run.status = 'complete'
        AND run.replayed_run_id IS NULL
        AND run.usage_as_of IS NOT NULL
    ORDER BY run.id DESC
    LIMIT 1
),

merged AS (
    SELECT
        run.usage_as_of,
        (run.usage_as_of AT TIME ZONE latest.time_zone)::date AS usage_date
    FROM amop.device_sync_run AS run
    CROSS JOIN latest
    WHERE
        run.service_provider_id = %(service_provider_id)s
        AND run.usage_merged_at IS NOT NULL
        AND run.usage_as_of <= latest.usage_as_of
),

windows AS (
    SELECT
        (
            SELECT max(merged.usage_as_of) FROM merged
            WHERE merged.usage_date <= latest.usage_date - %(recent_days)s::integer
        ) AS recent_begins_at,
        (
            SELECT max(merged.usage_as_of) FROM merged
            WHERE
                merged.usage_date = (
                    SELECT min(early.usage_date) FROM merged AS early
                    WHERE early.usage_date >= latest.usage_date - %(recent_days)s::integer - %(history_days)s::integer
                )
        ) AS history_begins_at
    FROM latest
)

SELECT
    latest.run_id,
    latest.usage_as_of,
    latest.usage_date,
    provider.id AS service_provider_id,
    provider.name AS service_provider_name,
    integration.name AS integration,
    provider.time_zone,
    provider.uses_proration,
    provider.prorates_allowance,
    provider.pool_scope,
    period.id AS billing_period_id,
    period.cycle_start,
    period.cycle_end,
    (period.cycle_end AT TIME ZONE provider.time_zone)::date
    - (period.cycle_start AT TIME ZONE provider.time_zone)::date AS days_in_period,
    windows.recent_begins_at,
    windows.history_begins_at,
    (windows.recent_begins_at AT TIME ZONE provider.time_zone)::date AS recent_begins_on,
    (windows.history_begins_at AT TIME ZONE provider.time_zone)::date AS history_begins_on
FROM latest
CROSS JOIN windows
INNER JOIN amop.service_provider AS provider ON provider.id = %(service_provider_id)s
INNER JOIN amop.integration AS integration ON provider.integration_id = integration.id
INNER JOIN amop.billing_period AS period ON latest.billing_period_id = period.id
