-- Purpose: return the session whose optimization has applied the same plan change of the SIM after the inputs of this
--   change's optimization were read; its saving is that session's.
-- Parameters: change_id.
-- Locks: none, reads only.
-- Repeatable: yes.
SELECT other.session_id
FROM amop.rate_plan_change AS change
INNER JOIN amop.optimization_instance AS instance ON change.instance_id = instance.id
INNER JOIN amop.rate_plan_change AS earlier
    ON
        change.device_id = earlier.device_id
        AND change.to_rate_plan = earlier.to_rate_plan
        AND change.instance_id <> earlier.instance_id
INNER JOIN amop.optimization_instance AS other ON earlier.instance_id = other.id
WHERE
    change.id = %(change_id)s
    AND earlier.state = 'applied'
    AND earlier.applied_at >= instance.inputs_read_at
ORDER BY earlier.applied_at DESC
LIMIT 1
