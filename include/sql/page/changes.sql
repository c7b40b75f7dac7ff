-- Purpose: return a page of the plan changes of an instance, sorted by a column, and the number of all that match.
-- Parameters: instance_id, state (null = all), search (text, null = all; the start of an ICCID or a part of a rate
--   plan's name), sort (identifier), descending (boolean), maximum, skipped.
-- Locks: none, reads only.
-- Repeatable: yes.
SELECT
    listed.*,
    count(*) OVER () AS matches
FROM (
    SELECT
        change.id,
        change.device_id,
        device.iccid,
        change.from_rate_plan,
        change.to_rate_plan,
        result.projected_usage_mb,
        result.from_cost,
        result.to_cost,
        result.from_cost - result.to_cost AS saving,
        change.state,
        change.decided_by,
        change.decided_at,
        change.applied_at,
        coalesce(change.error, change.doubt) AS remark,
        result.reason
    FROM amop.rate_plan_change AS change
    INNER JOIN amop.device AS device ON change.device_id = device.id
    LEFT JOIN amop.optimization_device_result AS result
        ON change.instance_id = result.instance_id AND change.device_id = result.device_id
    WHERE
        change.instance_id = %(instance_id)s
        AND (%(state)s::text IS NULL OR change.state = %(state)s)
        AND (
            %(search)s::text IS NULL
            OR starts_with(device.iccid, %(search)s)
            OR position(lower(%(search)s) IN lower(concat_ws(' ', change.from_rate_plan, change.to_rate_plan))) > 0
        )
) AS listed
ORDER BY
    CASE WHEN %(descending)s THEN listed.{sort} END DESC NULLS LAST,
    CASE WHEN NOT %(descending)s THEN listed.{sort} END ASC NULLS LAST,
    listed.id ASC
LIMIT %(maximum)s OFFSET %(skipped)s
