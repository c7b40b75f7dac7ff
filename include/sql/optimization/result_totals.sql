-- Purpose: what the result rows of an instance add up to, to be held against its totals, and the changes proposed.
-- Parameters: instance_id.
-- Locks: none beyond reading.
-- Repeatable: reads only.
SELECT
    count(*) AS device_count,
    coalesce(sum(result.from_cost), 0) AS current_cost,
    coalesce(sum(result.to_cost), 0) AS total_cost,
    count(*) FILTER (WHERE result.from_rate_plan IS DISTINCT FROM result.to_rate_plan) AS changes
FROM amop.optimization_device_result AS result
WHERE result.instance_id = %(instance_id)s
