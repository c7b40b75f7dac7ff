-- Purpose: return the latest plan changes of an instance whose write request was confirmed at once, the newest first. A
--   change that was in doubt is excluded: when the carrier made it is not known.
-- Parameters: instance_id, batch_size.
-- Locks: none, reads only.
-- Repeatable: yes.
SELECT
    device.iccid,
    change.sent_at
FROM amop.rate_plan_change AS change
INNER JOIN amop.device AS device ON change.device_id = device.id
WHERE
    change.instance_id = %(instance_id)s
    AND change.state = 'applied'
    AND change.sent_at IS NOT NULL
    AND change.doubt_since IS NULL
ORDER BY change.sent_at DESC, change.id DESC
LIMIT %(batch_size)s
