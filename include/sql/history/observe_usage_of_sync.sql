-- Purpose: what a live sync has seen of the counters, of the SIMs whose counters have moved.
-- Parameters: none; reads collected_usage of the same transaction.
-- Locks: none; fills a temporary table of this transaction.
-- Repeatable: the table is dropped at the end of the transaction.
CREATE TEMPORARY TABLE observed_usage ON COMMIT DROP AS
SELECT
    device_id,
    data_usage,
    sms_usage,
    voice_usage
FROM collected_usage
WHERE
    NOT is_same_cycle
    OR (data_usage, sms_usage, voice_usage) IS DISTINCT FROM (old_data_usage, old_sms_usage, old_voice_usage)
