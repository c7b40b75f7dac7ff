-- Purpose: return a page of the plan changes of an instance, sorted by a column. The page is found in rate_plan_change
--   alone; SIMs and results are joined to its rows only.
-- Parameters: instance_id, state (null = all; waiting = proposed and waiting for a later one), search (text, null =
--   all; the start of an ICCID or a part of a rate plan's name), sort (identifier), descending (boolean), maximum,
--   skipped.
-- Locks: none, reads only.
-- Repeatable: yes.
SELECT
    listed.id,
    listed.device_id,
    coalesce(listed.iccid, device.iccid) AS iccid,
    listed.from_rate_plan,
    listed.to_rate_plan,
    coalesce(listed.projected_usage_mb, result.projected_usage_mb) AS projected_usage_mb,
    coalesce(listed.from_cost, result.from_cost) AS from_cost,
    coalesce(listed.to_cost, result.to_cost) AS to_cost,
    coalesce(listed.saving, result.from_cost - result.to_cost) AS saving,
    CASE
        WHEN listed.state = 'proposed' AND listed.waits_reason IS NOT NULL THEN 'waiting'
        ELSE listed.state
    END AS state,
    listed.decided_by,
    listed.decided_at,
    listed.applied_at,
    coalesce(listed.error, listed.doubt, listed.waits_reason) AS remark,
    listed.certainty,
    result.reason
FROM (
    SELECT change.*
    FROM (
        SELECT
            rate_plan_change.*,
            rate_plan_change.from_cost - rate_plan_change.to_cost AS saving
        FROM amop.rate_plan_change
    ) AS change
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
    ORDER BY
        CASE WHEN %(descending)s THEN change.{sort} END DESC NULLS LAST,
        CASE WHEN NOT %(descending)s THEN change.{sort} END ASC NULLS LAST,
        change.id ASC
    LIMIT %(maximum)s OFFSET %(skipped)s
) AS listed
INNER JOIN amop.device AS device ON listed.device_id = device.id
LEFT JOIN amop.optimization_device_result AS result
    ON listed.instance_id = result.instance_id AND listed.device_id = result.device_id
ORDER BY
    CASE WHEN %(descending)s THEN listed.{sort} END DESC NULLS LAST,
    CASE WHEN NOT %(descending)s THEN listed.{sort} END ASC NULLS LAST,
    listed.id ASC
