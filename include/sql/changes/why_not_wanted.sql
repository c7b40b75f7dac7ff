-- Purpose: why the approval of an instance's plan changes is no longer wanted: a newer instance has made them stale,
--   somebody has decided, or too little time is left to apply all of them. Null while it is wanted.
-- Parameters: instance_id, now.
-- Locks: none beyond reading.
-- Repeatable: reads only.
SELECT
    CASE
        WHEN newer.instance_id IS NOT NULL
            THEN 'superseded by instance ' || newer.instance_id || ' of the same provider'
        WHEN coalesce(instance.changes_status, '') <> 'waiting'
            THEN coalesce(instance.changes_reason, 'not decided on yet')
        WHEN instance.changes_deadline <= %(now)s
            THEN 'taken back: too little time is left in the billing period'
    END AS reason
FROM amop.optimization_instance AS instance
CROSS JOIN LATERAL (SELECT amop.newer_instance(instance.id) AS instance_id) AS newer
WHERE instance.id = %(instance_id)s
