-- Purpose: join the observed counters of one day with those of the days before and after it. A counter that was not
--   read keeps its previous value. An earlier reading never replaces a later one of the same day. Where a counter fell,
--   or a later day is known, the other days of the cycle may change too (changes_other_days).
-- Parameters: usage_date, billing_period_id, as_of (when the counters were read).
-- Locks: none; creates a temporary table from observed_usage in this transaction.
-- Repeatable: the table is dropped at the end of the transaction.
CREATE TEMPORARY TABLE adjacent_usage ON COMMIT DROP AS
SELECT
    observed.device_id,
    reading.data_usage,
    reading.sms_usage,
    reading.voice_usage,
    coalesce(before.data_usage, 0) AS data_usage_before,
    coalesce(before.sms_usage, 0) AS sms_usage_before,
    coalesce(before.voice_usage, 0) AS voice_usage_before,
    coalesce(
        following.device_id IS NOT NULL
        OR least(reading.data_usage, known.data_usage) < before.data_usage
        OR least(reading.sms_usage, known.sms_usage) < before.sms_usage
        OR least(reading.voice_usage, known.voice_usage) < before.voice_usage,
        false
    ) AS changes_other_days
FROM observed_usage AS observed
LEFT JOIN amop.device_usage_to_date AS known
    ON
        observed.device_id = known.device_id
        AND known.usage_date = %(usage_date)s
        AND known.billing_period_id = %(billing_period_id)s
LEFT JOIN LATERAL (
    SELECT day.* FROM amop.device_usage_to_date AS day
    WHERE
        day.device_id = observed.device_id
        AND day.usage_date < %(usage_date)s
        AND day.billing_period_id = %(billing_period_id)s
    ORDER BY day.usage_date DESC
    LIMIT 1
) AS before ON true
LEFT JOIN LATERAL (
    SELECT day.device_id FROM amop.device_usage AS day
    WHERE
        day.device_id = observed.device_id
        AND day.usage_date > %(usage_date)s
        AND day.billing_period_id = %(billing_period_id)s
    ORDER BY day.usage_date
    LIMIT 1
) AS following ON true
CROSS JOIN LATERAL (
    SELECT
        coalesce(observed.data_usage, known.data_usage, before.data_usage, 0) AS data_usage,
        coalesce(observed.sms_usage, known.sms_usage, before.sms_usage, 0) AS sms_usage,
        coalesce(observed.voice_usage, known.voice_usage, before.voice_usage, 0) AS voice_usage
) AS reading
WHERE known.device_id IS NULL OR coalesce(known.as_of, '-infinity') <= %(as_of)s
