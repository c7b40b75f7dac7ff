-- Purpose: collect the daily rows that follow from the observed counters: that of the day, and where a counter fell or
--   a later day is known, those of all days of the cycle, so that they add up to the last counter. A row without usage
--   is needed only where a counter differs from that of the row before (is_needed).
-- Parameters: usage_date, billing_period_id, as_of (when the counters were read).
-- Locks: none; creates a temporary table from adjacent_usage in this transaction.
-- Repeatable: the table is dropped at the end of the transaction.
CREATE TEMPORARY TABLE target_usage ON COMMIT DROP AS
WITH reading AS (
    SELECT
        device_id,
        %(usage_date)s::date AS usage_date,
        %(as_of)s::timestamptz AS as_of,
        data_usage,
        sms_usage,
        voice_usage
    FROM adjacent_usage
    WHERE changes_other_days
    UNION ALL
    SELECT
        other.device_id,
        other.usage_date,
        other.as_of,
        other.data_usage,
        other.sms_usage,
        other.voice_usage
    FROM amop.device_usage_to_date AS other
    INNER JOIN adjacent_usage AS adjacent ON other.device_id = adjacent.device_id AND adjacent.changes_other_days
    WHERE other.billing_period_id = %(billing_period_id)s AND other.usage_date <> %(usage_date)s
),

days AS (
    SELECT
        device_id,
        array_agg(usage_date ORDER BY usage_date) AS usage_date,
        array_agg(as_of ORDER BY usage_date) AS as_of,
        array_agg(data_usage ORDER BY usage_date) AS data_counter,
        array_agg(sms_usage ORDER BY usage_date) AS sms_counter,
        array_agg(voice_usage ORDER BY usage_date) AS voice_counter
    FROM reading
    GROUP BY device_id
),

target AS (
    SELECT
        days.device_id,
        day.*,
        coalesce(lag(day.ctd_data_usage) OVER earlier, 0) AS data_usage_before,
        coalesce(lag(day.ctd_sms_usage) OVER earlier, 0) AS sms_usage_before,
        coalesce(lag(day.ctd_voice_usage) OVER earlier, 0) AS voice_usage_before
    FROM days
    CROSS JOIN LATERAL unnest(
        days.usage_date, days.as_of, amop.usage_of_days(days.data_counter), amop.usage_of_days(days.sms_counter),
        amop.usage_of_days(days.voice_counter), days.data_counter, days.sms_counter, days.voice_counter
    ) AS day (
        usage_date, as_of, data_usage, sms_usage, voice_usage, ctd_data_usage, ctd_sms_usage, ctd_voice_usage
    )
    WINDOW earlier AS (PARTITION BY days.device_id ORDER BY day.usage_date)
    UNION ALL
    SELECT
        device_id,
        %(usage_date)s,
        %(as_of)s,
        data_usage - data_usage_before,
        sms_usage - sms_usage_before,
        voice_usage - voice_usage_before,
        data_usage,
        sms_usage,
        voice_usage,
        data_usage_before,
        sms_usage_before,
        voice_usage_before
    FROM adjacent_usage
    WHERE NOT changes_other_days
)

SELECT
    target.*,
    (
        (target.ctd_data_usage, target.ctd_sms_usage, target.ctd_voice_usage)
        IS DISTINCT FROM (target.data_usage_before, target.sms_usage_before, target.voice_usage_before)
    ) AS is_needed
FROM target
