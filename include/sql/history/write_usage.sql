-- Purpose: the usage of one day: the counters of that day less those of the day before.
-- Parameters: usage_date, billing_period_id, as_of.
-- Locks: the rows that are written.
-- Repeatable: a row that says the same is not written again.
INSERT INTO amop.device_usage AS daily (
    device_id, usage_date, billing_period_id, data_usage, sms_usage, voice_usage, ctd_data_usage, ctd_sms_usage,
    ctd_voice_usage, as_of
)
SELECT
    placed.device_id,
    %(usage_date)s,
    %(billing_period_id)s,
    delta.data_usage,
    delta.sms_usage,
    delta.voice_usage,
    placed.data_usage AS ctd_data_usage,
    placed.sms_usage AS ctd_sms_usage,
    placed.voice_usage AS ctd_voice_usage,
    %(as_of)s
FROM placed_usage AS placed
CROSS JOIN LATERAL (
    SELECT
        amop.usage_since(placed.data_usage, placed.data_usage_before) AS data_usage,
        amop.usage_since(placed.sms_usage, placed.sms_usage_before) AS sms_usage,
        amop.usage_since(placed.voice_usage, placed.voice_usage_before) AS voice_usage
) AS delta
WHERE placed.is_known OR delta.data_usage > 0 OR delta.sms_usage > 0 OR delta.voice_usage > 0
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
