-- Purpose: return the applied plan changes of an instance that were not read back from the carrier yet.
-- Parameters: instance_id.
-- Locks: none, reads only.
-- Repeatable: yes.
SELECT
    change.id,
    device.iccid,
    change.to_rate_plan,
    change.sent_at
FROM amop.rate_plan_change AS change
INNER JOIN amop.device AS device ON change.device_id = device.id
WHERE change.instance_id = %(instance_id)s AND change.state = 'applied' AND change.verified_at IS NULL
ORDER BY change.id
