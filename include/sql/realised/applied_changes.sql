-- Purpose: the changes of an instance that the carrier took within the billing period: device and new rate plan,
--   each column as one array. One that was applied after the period's end changes nothing of its bill.
-- Parameters: instance_id, service_provider_id, cycle_start, cycle_end.
-- Locks: none beyond reading.
-- Repeatable: reads only.
SELECT
    array_agg(change.device_id),
    array_agg(plan.id)
FROM amop.rate_plan_change AS change
INNER JOIN amop.carrier_rate_plan AS plan
    ON plan.service_provider_id = %(service_provider_id)s AND change.to_rate_plan = plan.rate_plan_code
WHERE
    change.instance_id = %(instance_id)s
    AND change.state = 'applied'
    AND change.applied_at >= %(cycle_start)s
    AND change.applied_at < %(cycle_end)s
