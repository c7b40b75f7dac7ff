-- Purpose: return the forecast saving that the first changes of an instance bring, the largest saving first, at up to
--   points places of the list; the last place is the whole list.
-- Parameters: instance_id, points.
-- Locks: none, reads only.
-- Repeatable: yes.
SELECT
    ranked.change_count,
    ranked.saving
FROM (
    SELECT
        row_number() OVER by_saving AS change_count,
        sum(result.from_cost - result.to_cost) OVER by_saving AS saving,
        count(*) OVER () AS whole
    FROM amop.rate_plan_change AS change
    INNER JOIN amop.optimization_device_result AS result
        ON change.instance_id = result.instance_id AND change.device_id = result.device_id
    WHERE change.instance_id = %(instance_id)s
    WINDOW by_saving AS (
        ORDER BY result.from_cost - result.to_cost DESC, change.device_id
        ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    )
) AS ranked
WHERE
    ranked.change_count = ranked.whole
    OR (ranked.change_count - 1) * %(points)s / ranked.whole < ranked.change_count * %(points)s / ranked.whole
ORDER BY ranked.change_count
