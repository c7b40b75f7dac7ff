-- Purpose: compare the counters that a run has read with those of the warehouse: one row per SIM and usage type that
--   was read. Bulk usage covers the SIMs of a plan if the carrier refused no version of it; a SIM that it does not name
--   has used nothing. fall is how much a bulk read lowers a counter within the cycle without proof. No proof is needed
--   where the counter has not fallen since the previous period and began this one at least as high as it ended that
--   one: the carrier reset it late. Bulk usage that was read after the cycle had ended never lowers a counter: it is
--   final.
-- Parameters: run_id. Needs present_device.
-- Locks: none; creates a temporary table in this transaction.
-- Repeatable: the table is dropped at the end of the transaction.
CREATE TEMPORARY TABLE compared_usage ON COMMIT DROP AS
WITH run AS (
    SELECT
        run.id,
        run.service_provider_id,
        run.billing_period_id,
        period.cycle_start,
        period.cycle_end
    FROM amop.device_sync_run AS run
    INNER JOIN amop.billing_period AS period ON run.billing_period_id = period.id
    WHERE run.id = %(run_id)s
),

before AS (
    SELECT period.id
    FROM amop.billing_period AS period
    INNER JOIN run ON period.service_provider_id = run.service_provider_id AND period.cycle_start < run.cycle_start
    ORDER BY period.cycle_start DESC
    LIMIT 1
),

bulk AS (
    SELECT
        processed.rate_plan_code,
        processed.usage_type,
        bool_and(processed.refusal IS NULL) AS is_whole,
        bool_or(processed.processed_at >= run.cycle_end) AS is_final
    FROM amop.device_usage_processed AS processed
    INNER JOIN run ON processed.run_id = run.id
    WHERE processed.kind = 'rate_plan_usage'
    GROUP BY processed.rate_plan_code, processed.usage_type
),

counted AS (
    SELECT * FROM amop.counted_usage
    WHERE run_id = %(run_id)s
),

usage_type AS (
    SELECT every_type.name
    FROM (VALUES ('DATA'), ('SMS'), ('VOICE'), ('SESSIONS')) AS every_type (name)
    WHERE
        EXISTS (SELECT 1 FROM bulk WHERE bulk.usage_type = every_type.name)
        OR EXISTS (
            SELECT 1 FROM amop.device_usage_staging AS staged
            WHERE staged.run_id = %(run_id)s AND staged.usage_type = every_type.name
        )
),

read AS (
    SELECT
        sim.iccid,
        sim.device_id,
        coalesce(sim.rate_plan, '') AS rate_plan,
        sim.has_moved,
        usage_type.name AS usage_type,
        coalesce(counted.is_single, false) AS is_single,
        coalesce(bulk.is_whole, false) AS is_whole,
        coalesce(bulk.is_final, false) AS is_final,
        coalesce(counted.is_bulk, false) AS is_named,
        least(coalesce(counted.usage, 0), 9223372036854775807)::bigint AS usage,
        least(coalesce(counted.bulk_usage, 0), 9223372036854775807)::bigint AS bulk_usage,
        CASE
            WHEN (device.billing_period_id IS DISTINCT FROM run.billing_period_id) THEN 0
            WHEN usage_type.name = 'DATA' THEN device.ctd_data_usage
            WHEN usage_type.name = 'SMS' THEN device.ctd_sms_usage
            WHEN usage_type.name = 'VOICE' THEN device.ctd_voice_usage
            ELSE device.ctd_session_count
        END AS old_usage
    FROM present_device AS sim
    CROSS JOIN run
    CROSS JOIN usage_type
    LEFT JOIN amop.device AS device ON sim.device_id = device.id
    LEFT JOIN bulk ON sim.rate_plan = bulk.rate_plan_code AND usage_type.name = bulk.usage_type
    LEFT JOIN counted ON sim.iccid = counted.iccid AND usage_type.name = counted.usage_type
    WHERE counted.iccid IS NOT NULL OR (bulk.is_whole AND sim.is_counted)
)

SELECT
    read.*,
    CASE
        WHEN read.is_single OR read.is_final OR reset.was_late THEN 0
        ELSE greatest(read.old_usage - read.usage, 0)
    END AS fall
FROM read
LEFT JOIN LATERAL (
    SELECT
        bool_and(day.counter >= day.counter_before)
        AND min(day.counter) >= max(ended.data_usage) AS was_late
    FROM (
        SELECT
            daily.data_usage AS counter,
            lag(daily.data_usage, 1, 0::bigint) OVER (ORDER BY daily.usage_date) AS counter_before
        FROM amop.device_usage_to_date AS daily
        INNER JOIN run ON daily.billing_period_id = run.billing_period_id
        WHERE
            daily.device_id = read.device_id
            AND read.usage_type = 'DATA' AND read.is_named AND read.usage > 0 AND read.usage < read.old_usage
    ) AS day
    CROSS JOIN (
        SELECT daily.data_usage
        FROM amop.device_usage_to_date AS daily
        INNER JOIN before ON daily.billing_period_id = before.id
        WHERE daily.device_id = read.device_id AND daily.data_usage > 0
        ORDER BY daily.usage_date DESC
        LIMIT 1
    ) AS ended
) AS reset ON true
