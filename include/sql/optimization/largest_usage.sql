-- Purpose: the SIM with the largest usage of a provider, to name it when the sum of its days is beyond any number.
-- Parameters: service_provider_id, billing_period_id.
-- Locks: none beyond reading.
-- Repeatable: reads only.
SELECT
    device.iccid,
    greatest(device.ctd_data_usage, daily.data_usage) AS data_usage
FROM amop.device AS device
LEFT JOIN (
    SELECT
        usage.device_id,
        sum(usage.data_usage) AS data_usage
    FROM amop.device_usage AS usage
    WHERE usage.billing_period_id = %(billing_period_id)s
    GROUP BY usage.device_id
) AS daily ON device.id = daily.device_id
WHERE device.service_provider_id = %(service_provider_id)s
ORDER BY greatest(device.ctd_data_usage, daily.data_usage) DESC
LIMIT 1
