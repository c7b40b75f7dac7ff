-- Purpose: return the usage of a SIM by billing period, newest first. Messages that were not read are null, not 0;
--   whether those of an earlier period were read is taken from the latest one.
-- Parameters: device_id, maximum.
-- Locks: none, reads only.
-- Repeatable: yes.
SELECT
    period.cycle_start,
    period.cycle_end,
    sum(usage.data_usage) AS data_usage,
    CASE WHEN device.sms_is_read OR sum(usage.sms_usage) > 0 THEN sum(usage.sms_usage) END AS sms_usage,
    count(*) AS day_count
FROM amop.device_usage AS usage
INNER JOIN amop.device AS device ON usage.device_id = device.id
INNER JOIN amop.billing_period AS period ON usage.billing_period_id = period.id
WHERE usage.device_id = %(device_id)s
GROUP BY period.id, device.id
ORDER BY period.cycle_start DESC
LIMIT %(maximum)s
