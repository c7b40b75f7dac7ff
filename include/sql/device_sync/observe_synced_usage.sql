-- Purpose: collect the counters that a live sync read, of the SIMs whose counters have changed; of all SIMs if a day
--   after the last live sync was replayed, because its counters are in history but not in amop.device.
-- Parameters: service_provider_id, billing_period_id; reads collected_usage of the same transaction.
-- Locks: none; creates a temporary table in this transaction.
-- Repeatable: the table is dropped at the end of the transaction.
CREATE TEMPORARY TABLE observed_usage ON COMMIT DROP AS
SELECT
    device_id,
    data_usage,
    sms_usage,
    voice_usage
FROM collected_usage
WHERE
    is_read
    AND (
        NOT is_same_cycle
        OR (data_usage, sms_usage, voice_usage) IS DISTINCT FROM (old_data_usage, old_sms_usage, old_voice_usage)
        OR EXISTS (
            SELECT 1 FROM amop.device_sync_run AS replay
            WHERE
                replay.service_provider_id = %(service_provider_id)s
                AND replay.billing_period_id = %(billing_period_id)s
                AND replay.replayed_run_id IS NOT NULL
                AND replay.status = 'complete'
                AND replay.usage_as_of > (
                    SELECT coalesce(max(live.usage_as_of), '-infinity') FROM amop.device_sync_run AS live
                    WHERE
                        live.service_provider_id = %(service_provider_id)s
                        AND live.billing_period_id = %(billing_period_id)s
                        AND live.replayed_run_id IS NULL
                        AND live.usage_merged_at IS NOT NULL
                )
        )
    )
