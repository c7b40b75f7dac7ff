-- Purpose: return the usage of a SIM by day in one billing period.
-- Parameters: device_id, billing_period_id.
-- Locks: none, reads only.
-- Repeatable: yes.
SELECT
    usage_date,
    data_usage,
    sms_usage
FROM amop.device_usage
WHERE device_id = %(device_id)s AND billing_period_id = %(billing_period_id)s
ORDER BY usage_date
