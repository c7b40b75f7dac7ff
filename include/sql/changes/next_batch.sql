-- Purpose: the next approved plan changes of an instance to apply, the largest savings first; those in doubt alone
--   where asked.
-- Parameters: instance_id, in_doubt (boolean), batch_size.
-- Locks: none beyond reading; mark_sent takes the row.
-- Repeatable: reads only.
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
    AND (change.sent_at IS NOT NULL) = %(in_doubt)s
ORDER BY result.from_cost - result.to_cost DESC NULLS LAST, change.id ASC
LIMIT %(batch_size)s
