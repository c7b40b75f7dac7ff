-- Purpose: return the number of plan changes of an instance that match a filter.
-- Parameters: instance_id, state (null = all; waiting = proposed and waiting for a later one), search (text, null =
--   all; the start of an ICCID or a part of a rate plan's name).
-- Locks: none, reads only.
-- Repeatable: yes.
SELECT count(*) AS matches
FROM amop.rate_plan_change AS change
WHERE
    change.instance_id = %(instance_id)s
    AND (
        %(state)s::text IS NULL
        OR (
            change.state = CASE WHEN %(state)s = 'waiting' THEN 'proposed' ELSE %(state)s END
            AND (change.state <> 'proposed' OR (change.waits_reason IS NOT NULL) = (%(state)s = 'waiting'))
        )
    )
    AND (
        %(search)s::text IS NULL
        OR starts_with(change.iccid, %(search)s)
        OR ARRAY[change.from_rate_plan, change.to_rate_plan] && (
            SELECT array_agg(plan.name)
            FROM amop.rate_plan_move AS move
            CROSS JOIN LATERAL unnest(ARRAY[move.from_rate_plan, move.to_rate_plan]) AS plan (name)
            WHERE
                move.instance_id = %(instance_id)s
                AND position(lower(%(search)s) IN lower(plan.name)) > 0
        )
    )
