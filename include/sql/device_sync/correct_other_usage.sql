-- Purpose: correct the usage of the other days of the cycle, so that the days still add up to its last counter.
-- Parameters: usage_date (that of the observed counters), billing_period_id.
-- Locks: the rows that change.
-- Repeatable: writes only rows that differ.
UPDATE amop.device_usage AS daily
SET
    data_usage = target.data_usage,
    sms_usage = target.sms_usage,
    voice_usage = target.voice_usage,
    ctd_data_usage = target.ctd_data_usage,
    ctd_sms_usage = target.ctd_sms_usage,
    ctd_voice_usage = target.ctd_voice_usage
FROM target_usage AS target
WHERE
    daily.device_id = target.device_id
    AND daily.usage_date = target.usage_date
    AND daily.billing_period_id = %(billing_period_id)s
    AND target.usage_date <> %(usage_date)s
    AND (daily.data_usage, daily.sms_usage, daily.voice_usage) IS DISTINCT FROM (
        target.data_usage, target.sms_usage, target.voice_usage
    )
