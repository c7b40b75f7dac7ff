-- Purpose: return why the approval request for an instance's plan changes is withdrawn: a newer instance has superseded
--   them, they were decided, or too little time is left to apply all of them. Null while the request is current.
-- Parameters: instance_id, now (timestamptz or null = the database's clock).
-- Locks: none, reads only.
-- Repeatable: yes.
SELECT
    CASE
        WHEN newer.instance_id IS NOT NULL
            THEN 'superseded by instance ' || newer.instance_id || ' of the same provider'
        WHEN coalesce(instance.changes_status, '') <> 'waiting'
            THEN coalesce(instance.changes_reason, 'not decided yet')
        WHEN instance.changes_deadline <= coalesce(%(now)s::timestamptz, clock_timestamp())
            THEN 'withdrawn: too little time is left in the billing period'
    END AS withdrawal_reason
FROM amop.optimization_instance AS instance
CROSS JOIN LATERAL (SELECT amop.newer_instance(instance.id) AS instance_id) AS newer
WHERE instance.id = %(instance_id)s
