-- Purpose: return the real usage of the billed SIMs of an instance in its billing period, each column as one array:
--   data in 1e-6 MB, rounded half up, and messages. As in amop.eligible_device_of_closed_period it is the sum of the
--   daily rows; a SIM without daily rows that is still in the period has its counters.
-- Parameters: instance_id, billing_period_id.
-- Locks: none, reads only.
-- Repeatable: yes.
SELECT
    array_agg(sim.device_id) AS device_id,
    array_agg(div(used.data_usage::numeric * 2000000 + 1048576, 2097152)::bigint) AS usage_micro_mb,
    array_agg(used.sms_usage) AS sms_usage
FROM amop.optimization_device AS sim
INNER JOIN amop.device AS device ON sim.device_id = device.id
LEFT JOIN (
    SELECT
        usage.device_id,
        sum(usage.data_usage)::bigint AS data_usage,
        sum(usage.sms_usage)::bigint AS sms_usage
    FROM amop.device_usage AS usage
    WHERE usage.billing_period_id = %(billing_period_id)s
    GROUP BY usage.device_id
) AS daily ON sim.device_id = daily.device_id
CROSS JOIN LATERAL (
    SELECT CASE WHEN device.billing_period_id = %(billing_period_id)s THEN 1 END::bigint AS share
) AS own
CROSS JOIN LATERAL (
    SELECT
        coalesce(daily.data_usage, own.share * device.ctd_data_usage, 0) AS data_usage,
        coalesce(daily.sms_usage, own.share * device.ctd_sms_usage, 0) AS sms_usage
) AS used
WHERE sim.instance_id = %(instance_id)s AND sim.is_billed
