-- Purpose: store the forecast saving that the first changes of an instance bring, the largest saving first, at up to
--   points places of the list; the last place is the whole list.
-- Parameters: instance_id, points.
-- Locks: the new rows.
-- Repeatable: yes, in one transaction after the old rows were deleted.
INSERT INTO amop.saving_curve (instance_id, change_count, saving)
SELECT
    %(instance_id)s,
    ranked.change_count,
    ranked.saving
FROM (
    SELECT
        row_number() OVER by_saving AS change_count,
        sum(from_cost - to_cost) OVER by_saving AS saving,
        count(*) OVER () AS whole
    FROM amop.rate_plan_change
    WHERE instance_id = %(instance_id)s AND from_cost IS NOT NULL
    WINDOW by_saving AS (
        ORDER BY from_cost - to_cost DESC, device_id
        ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    )
) AS ranked
WHERE
    ranked.change_count = ranked.whole
    OR (ranked.change_count - 1) * %(points)s / ranked.whole < ranked.change_count * %(points)s / ranked.whole
