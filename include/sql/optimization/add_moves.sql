-- Purpose: store the plan changes of an instance summed up by plan.
-- Parameters: instance_id.
-- Locks: the new rows.
-- Repeatable: yes, in one transaction after the old rows were deleted.
INSERT INTO amop.rate_plan_move (instance_id, from_rate_plan, to_rate_plan, change_count, from_cost, to_cost)
SELECT
    instance_id,
    from_rate_plan,
    to_rate_plan,
    count(*) AS change_count,
    sum(from_cost) AS from_cost,
    sum(to_cost) AS to_cost
FROM amop.rate_plan_change
WHERE instance_id = %(instance_id)s AND from_cost IS NOT NULL
GROUP BY instance_id, from_rate_plan, to_rate_plan
