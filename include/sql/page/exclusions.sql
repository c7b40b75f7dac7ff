-- Purpose: return the excluded SIMs of an instance by reason, with the monthly charges of their present rate plans.
-- Parameters: instance_id, service_provider_id.
-- Locks: none, reads only.
-- Repeatable: yes.
SELECT
    excluded_device.reason,
    count(*) AS device_count,
    coalesce(sum(plan.rate_charge + plan.base_rate), 0) AS monthly_charges
FROM amop.optimization_device_excluded AS excluded_device
INNER JOIN amop.device AS device ON excluded_device.device_id = device.id
LEFT JOIN amop.carrier_rate_plan AS plan
    ON plan.service_provider_id = %(service_provider_id)s AND device.rate_plan = plan.rate_plan_code
WHERE excluded_device.instance_id = %(instance_id)s
GROUP BY excluded_device.reason
ORDER BY device_count DESC, excluded_device.reason ASC
