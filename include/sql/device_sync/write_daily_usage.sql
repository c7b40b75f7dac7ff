-- Purpose: write the usage of one day.
-- Parameters: usage_date, billing_period_id.
-- Locks: the rows that are written.
-- Repeatable: an equal row is not written again.
INSERT INTO amop.device_usage AS daily (
    device_id, usage_date, billing_period_id, data_usage, sms_usage, voice_usage, ctd_data_usage, ctd_sms_usage,
    ctd_voice_usage, as_of
)
SELECT
    device_id,
    usage_date,
    %(billing_period_id)s,
    data_usage,
    sms_usage,
    voice_usage,
    ctd_data_usage,
    ctd_sms_usage,
    ctd_voice_usage,
    as_of
FROM target_usage
WHERE usage_date = %(usage_date)s AND is_needed
ON CONFLICT (device_id, usage_date, billing_period_id) DO UPDATE
SET
    data_usage = excluded.data_usage,
    sms_usage = excluded.sms_usage,
    voice_usage = excluded.voice_usage,
    ctd_data_usage = excluded.ctd_data_usage,
    ctd_sms_usage = excluded.ctd_sms_usage,
    ctd_voice_usage = excluded.ctd_voice_usage,
    as_of = excluded.as_of
WHERE (
    daily.data_usage, daily.sms_usage, daily.voice_usage, daily.ctd_data_usage, daily.ctd_sms_usage,
    daily.ctd_voice_usage
) IS DISTINCT FROM (
    excluded.data_usage, excluded.sms_usage, excluded.voice_usage, excluded.ctd_data_usage, excluded.ctd_sms_usage,
    excluded.ctd_voice_usage
)
