-- Purpose: return the plan changes of an instance with the saving of each, how certain it is and whether it waits; the
--   largest saving first.
-- Parameters: instance_id.
-- Locks: none, reads only.
-- Repeatable: yes.
SELECT
    device.iccid,
    change.from_rate_plan,
    change.to_rate_plan,
    result.from_cost::double precision,
    result.to_cost::double precision,
    (result.from_cost - result.to_cost)::double precision AS saving,
    change.state,
    result.reason,
    change.certainty::double precision,
    CASE
        WHEN change.waits_reason IS NOT NULL THEN coalesce(change.error, change.waits_reason)
        WHEN change.is_doubtful AND instance.changes_status IS NULL
            THEN 'doubtful: it may wait for a later optimization'
        WHEN change.is_doubtful THEN 'doubtful, but does not wait'
    END AS timing
FROM amop.rate_plan_change AS change
INNER JOIN amop.optimization_instance AS instance ON change.instance_id = instance.id
INNER JOIN amop.device AS device ON change.device_id = device.id
INNER JOIN amop.optimization_device_result AS result
    ON change.instance_id = result.instance_id AND change.device_id = result.device_id
WHERE change.instance_id = %(instance_id)s
ORDER BY result.from_cost - result.to_cost DESC, device.iccid COLLATE "C" ASC
