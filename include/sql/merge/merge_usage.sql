-- Purpose: the collected counters into amop.device, where they differ.
-- Parameters: billing_period_id, usage_as_of, now.
-- Locks: the rows that change.
-- Repeatable: the guard writes only what differs.
UPDATE amop.device
SET
    ctd_data_usage = collected.data_usage,
    ctd_sms_usage = collected.sms_usage,
    ctd_voice_usage = collected.voice_usage,
    ctd_session_count = collected.session_count,
    billing_period_id = %(billing_period_id)s,
    last_usage_date = CASE
        WHEN
            (
                NOT collected.is_same_cycle
                OR (collected.data_usage, collected.sms_usage, collected.voice_usage) IS DISTINCT FROM (
                    collected.old_data_usage, collected.old_sms_usage, collected.old_voice_usage
                )
            ) AND greatest(collected.data_usage, collected.sms_usage, collected.voice_usage) > 0
            THEN %(usage_as_of)s
        ELSE device.last_usage_date
    END,
    modified_at = %(now)s
FROM collected_usage AS collected
WHERE
    device.id = collected.device_id
    AND (
        NOT collected.is_same_cycle
        OR (collected.data_usage, collected.sms_usage, collected.voice_usage, collected.session_count)
        IS DISTINCT FROM (
            collected.old_data_usage, collected.old_sms_usage, collected.old_voice_usage, collected.old_session_count
        )
    )
