-- Purpose: return the next approved plan changes of an instance that were not sent, the largest savings first.
-- Parameters: instance_id, batch_size.
-- Locks: none, reads only; set_sent locks the row.
-- Repeatable: yes.
SELECT
    change.id,
    device.iccid,
    change.from_rate_plan,
    change.to_rate_plan
FROM amop.rate_plan_change AS change
INNER JOIN amop.device AS device ON change.device_id = device.id
LEFT JOIN amop.optimization_device_result AS result
    ON change.instance_id = result.instance_id AND change.device_id = result.device_id
WHERE
    change.instance_id = %(instance_id)s
    AND change.state = 'approved'
    AND change.sent_at IS NULL
ORDER BY result.from_cost - result.to_cost DESC NULLS LAST, change.id ASC
LIMIT %(batch_size)s
