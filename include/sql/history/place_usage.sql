-- Purpose: put the counters that were seen on one day between the ones of the days around it.
--   A counter that was not read is taken as it was before. What was seen earlier never replaces what was seen later on
--   the same day.
-- Parameters: usage_date, billing_period_id, as_of (when it was seen).
-- Locks: none; fills a temporary table of this transaction from observed_usage.
-- Repeatable: the table is dropped at the end of the transaction.
CREATE TEMPORARY TABLE placed_usage ON COMMIT DROP AS
SELECT
    observed.device_id,
    coalesce(observed.data_usage, known.data_usage, before.data_usage, 0) AS data_usage,
    coalesce(observed.sms_usage, known.sms_usage, before.sms_usage, 0) AS sms_usage,
    coalesce(observed.voice_usage, known.voice_usage, before.voice_usage, 0) AS voice_usage,
    coalesce(before.data_usage, 0) AS data_usage_before,
    coalesce(before.sms_usage, 0) AS sms_usage_before,
    coalesce(before.voice_usage, 0) AS voice_usage_before,
    known.device_id IS NOT NULL AS is_known,
    following.usage_date AS next_date,
    following.data_usage AS next_data_usage,
    following.sms_usage AS next_sms_usage,
    following.voice_usage AS next_voice_usage
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
    SELECT day.* FROM amop.device_usage_to_date AS day
    WHERE
        day.device_id = observed.device_id
        AND day.usage_date > %(usage_date)s
        AND day.billing_period_id = %(billing_period_id)s
    ORDER BY day.usage_date ASC
    LIMIT 1
) AS following ON true
WHERE known.device_id IS NULL OR coalesce(known.as_of, '-infinity') <= %(as_of)s
