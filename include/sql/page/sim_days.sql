-- Purpose: return the usage of a SIM by day in one billing period. Messages that were not read are null, not 0.
-- Parameters: device_id, billing_period_id.
-- Locks: none, reads only.
-- Repeatable: yes.
SELECT
    usage.usage_date,
    usage.data_usage,
    CASE WHEN device.sms_is_read OR usage.sms_usage > 0 THEN usage.sms_usage END AS sms_usage
FROM amop.device_usage AS usage
INNER JOIN amop.device AS device ON usage.device_id = device.id
WHERE usage.device_id = %(device_id)s AND usage.billing_period_id = %(billing_period_id)s
ORDER BY usage.usage_date
