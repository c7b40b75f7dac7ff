-- Purpose: return the data usage of the billed SIMs of an instance on one usage day, in bytes, each column as an array.
--   One day at a time, because the days of a million SIMs would be 28 million rows at once.
-- Parameters: instance_id, billing_period_id, usage_date.
-- Locks: none, reads only.
-- Repeatable: yes.
SELECT
    array_agg(daily.device_id) AS device_id,
    array_agg(daily.data_usage) AS data_usage
FROM amop.device_usage AS daily
INNER JOIN amop.optimization_device AS sim
    ON daily.device_id = sim.device_id AND sim.instance_id = %(instance_id)s AND sim.is_billed
WHERE
    daily.billing_period_id = %(billing_period_id)s
    AND daily.usage_date = %(usage_date)s::date
    AND daily.data_usage > 0
