-- Purpose: return the sums of the result rows of an instance, to compare with its totals, and the number of changes.
-- Parameters: instance_id.
-- Locks: none, reads only.
-- Repeatable: yes.
SELECT
    count(*) AS device_count,
    coalesce(sum(result.from_cost), 0) AS current_cost,
    coalesce(sum(result.to_cost), 0) AS total_cost,
    count(*) FILTER (WHERE result.from_rate_plan IS DISTINCT FROM result.to_rate_plan) AS changes
FROM amop.optimization_device_result AS result
WHERE result.instance_id = %(instance_id)s
