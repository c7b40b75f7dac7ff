-- Purpose: return the usage of a SIM by billing period, newest first.
-- Parameters: device_id, maximum.
-- Locks: none, reads only.
-- Repeatable: yes.
SELECT
    period.cycle_start,
    period.cycle_end,
    sum(usage.data_usage) AS data_usage,
    sum(usage.sms_usage) AS sms_usage,
    count(*) AS day_count
FROM amop.device_usage AS usage
INNER JOIN amop.billing_period AS period ON usage.billing_period_id = period.id
WHERE usage.device_id = %(device_id)s
GROUP BY period.id
ORDER BY period.cycle_start DESC
LIMIT %(maximum)s
