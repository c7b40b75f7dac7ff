-- Purpose: a day on which nothing was used has no row.
-- Parameters: usage_date, billing_period_id.
-- Locks: the deleted rows.
-- Repeatable: deletes nothing the second time.
DELETE FROM amop.device_usage AS daily
USING placed_usage AS placed
WHERE
    daily.device_id = placed.device_id
    AND daily.usage_date IN (%(usage_date)s, placed.next_date)
    AND daily.billing_period_id = %(billing_period_id)s
    AND daily.data_usage = 0 AND daily.sms_usage = 0 AND daily.voice_usage = 0
