-- Purpose: the usage since the previous sync of the cycle, as a row per SIM and usage date.
--   A counter that went down began anew, so that all of it is new usage; a delta is never negative. A day's
--   sum that a bigint cannot hold, which no SIM can use, stays at its largest.
-- Parameters: usage_date, billing_period_id.
-- Locks: the rows that are written.
-- Repeatable: reads collected_usage of the same transaction that then raises the counters; run once per run.
INSERT INTO amop.device_usage AS daily (
    device_id, usage_date, billing_period_id, data_usage, sms_usage, voice_usage
)
SELECT
    delta.device_id,
    %(usage_date)s,
    %(billing_period_id)s,
    delta.data_usage,
    delta.sms_usage,
    delta.voice_usage
FROM (
    SELECT
        device_id,
        data_usage
        - CASE WHEN is_same_cycle AND data_usage >= old_data_usage THEN old_data_usage ELSE 0 END AS data_usage,
        sms_usage - CASE WHEN is_same_cycle AND sms_usage >= old_sms_usage THEN old_sms_usage ELSE 0 END AS sms_usage,
        voice_usage
        - CASE WHEN is_same_cycle AND voice_usage >= old_voice_usage THEN old_voice_usage ELSE 0 END AS voice_usage
    FROM collected_usage
) AS delta
WHERE delta.data_usage > 0 OR delta.sms_usage > 0 OR delta.voice_usage > 0
ON CONFLICT (device_id, usage_date, billing_period_id) DO UPDATE
SET
    data_usage = least(daily.data_usage::numeric + excluded.data_usage, 9223372036854775807),
    sms_usage = least(daily.sms_usage::numeric + excluded.sms_usage, 9223372036854775807),
    voice_usage = least(daily.voice_usage::numeric + excluded.voice_usage, 9223372036854775807)
