-- Purpose: return the next plan changes of an instance that are in doubt, the oldest doubt first.
-- Parameters: instance_id, batch_size.
-- Locks: none, reads only.
-- Repeatable: yes.
SELECT
    change.id,
    device.iccid,
    change.from_rate_plan,
    change.to_rate_plan,
    change.doubt_since,
    change.doubt,
    change.doubt_count,
    change.is_denied
FROM amop.rate_plan_change AS change
INNER JOIN amop.device AS device ON change.device_id = device.id
WHERE
    change.instance_id = %(instance_id)s
    AND change.state = 'approved'
    AND change.sent_at IS NOT NULL
    AND change.doubt_since IS NOT NULL
ORDER BY change.doubt_since ASC, change.id ASC
LIMIT %(batch_size)s
