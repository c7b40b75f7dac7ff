-- Purpose: return the plan changes of an instance that do not wait, summed up by plan: number of SIMs from one plan to
--   another, and their cost before and after. The largest savings come first.
-- Parameters: instance_id.
-- Locks: none, reads only.
-- Repeatable: yes.
SELECT
    change.from_rate_plan,
    change.to_rate_plan,
    count(*) AS change_count,
    sum(result.from_cost) AS from_cost,
    sum(result.to_cost) AS to_cost
FROM amop.rate_plan_change AS change
INNER JOIN amop.optimization_device_result AS result
    ON change.instance_id = result.instance_id AND change.device_id = result.device_id
WHERE change.instance_id = %(instance_id)s AND change.waits_reason IS NULL
GROUP BY change.from_rate_plan, change.to_rate_plan
ORDER BY sum(result.from_cost - result.to_cost) DESC, change.from_rate_plan ASC NULLS FIRST, change.to_rate_plan ASC
