-- Purpose: return the plan changes that were proposed for a SIM, newest first.
-- Parameters: device_id, maximum.
-- Locks: none, reads only.
-- Repeatable: yes.
SELECT
    change.id,
    instance.session_id,
    change.from_rate_plan,
    change.to_rate_plan,
    CASE
        WHEN change.state = 'proposed' AND change.waits_reason IS NOT NULL THEN 'waiting'
        ELSE change.state
    END AS state,
    change.decided_by,
    change.decided_at,
    change.applied_at,
    coalesce(change.error, change.doubt, change.waits_reason) AS remark
FROM amop.rate_plan_change AS change
INNER JOIN amop.optimization_instance AS instance ON change.instance_id = instance.id
WHERE change.device_id = %(device_id)s
ORDER BY change.id DESC
LIMIT %(maximum)s
