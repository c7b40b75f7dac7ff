-- Purpose: write the collected counters to amop.device where they, or which of them were read, differ.
-- Parameters: billing_period_id, usage_as_of, now.
-- Locks: the rows that change.
-- Repeatable: writes only rows that differ.
UPDATE amop.device
SET
    ctd_data_usage = collected.data_usage,
    ctd_sms_usage = collected.sms_usage,
    ctd_voice_usage = collected.voice_usage,
    ctd_session_count = collected.session_count,
    sms_is_read = collected.sms_is_read,
    voice_is_read = collected.voice_is_read,
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
    AND collected.is_read
    AND (
        NOT collected.is_same_cycle
        OR (
            collected.data_usage, collected.sms_usage, collected.voice_usage, collected.session_count,
            collected.sms_is_read, collected.voice_is_read
        )
        IS DISTINCT FROM (
            collected.old_data_usage, collected.old_sms_usage, collected.old_voice_usage, collected.old_session_count,
            device.sms_is_read, device.voice_is_read
        )
    )
