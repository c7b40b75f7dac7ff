-- Purpose: the next day that has usage had absorbed the usage of the days before it that were missing: give it back, so
--   that the days of a cycle still add up to its counter.
-- Parameters: billing_period_id.
-- Locks: the rows that change.
-- Repeatable: the guard writes only what differs.
UPDATE amop.device_usage AS daily
SET
    data_usage = amop.usage_since(placed.next_data_usage, placed.data_usage),
    sms_usage = amop.usage_since(placed.next_sms_usage, placed.sms_usage),
    voice_usage = amop.usage_since(placed.next_voice_usage, placed.voice_usage),
    ctd_data_usage = placed.next_data_usage,
    ctd_sms_usage = placed.next_sms_usage,
    ctd_voice_usage = placed.next_voice_usage
FROM placed_usage AS placed
WHERE
    daily.device_id = placed.device_id
    AND daily.usage_date = placed.next_date
    AND daily.billing_period_id = %(billing_period_id)s
    AND (daily.data_usage, daily.sms_usage, daily.voice_usage) IS DISTINCT FROM (
        amop.usage_since(placed.next_data_usage, placed.data_usage),
        amop.usage_since(placed.next_sms_usage, placed.sms_usage),
        amop.usage_since(placed.next_voice_usage, placed.voice_usage)
    )
