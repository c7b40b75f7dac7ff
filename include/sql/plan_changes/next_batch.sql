-- Purpose: return the next approved plan changes of an instance that were not sent, in the order of sending; changes of
--   a version before that order: the largest savings first.
-- Parameters: instance_id, batch_size.
-- Locks: none, reads only; set_sent locks the row.
-- Repeatable: yes.
SELECT
    change.id,
    device.iccid,
    change.from_rate_plan,
    change.to_rate_plan,
    change.is_read_first
FROM amop.rate_plan_change AS change
INNER JOIN amop.device AS device ON change.device_id = device.id
WHERE
    change.instance_id = %(instance_id)s
    AND change.state = 'approved'
    AND change.sent_at IS NULL
ORDER BY change.send_order ASC NULLS LAST, change.from_cost - change.to_cost DESC NULLS LAST, change.id ASC
LIMIT %(batch_size)s
