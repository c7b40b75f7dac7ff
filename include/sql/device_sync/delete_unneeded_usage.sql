-- Purpose: delete the daily rows that say nothing: no usage, and the counters of the row before.
-- Parameters: billing_period_id.
-- Locks: the deleted rows.
-- Repeatable: deletes nothing the second time.
DELETE FROM amop.device_usage AS daily
USING target_usage AS target
WHERE
    daily.device_id = target.device_id
    AND daily.usage_date = target.usage_date
    AND daily.billing_period_id = %(billing_period_id)s
    AND NOT target.is_needed
