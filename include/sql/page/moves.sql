-- Purpose: return the plan changes of an instance summed up by plan: number of SIMs from one plan to another, and their
--   cost before and after. The largest savings come first.
-- Parameters: instance_id.
-- Locks: none, reads only.
-- Repeatable: yes.
SELECT
    from_rate_plan,
    to_rate_plan,
    change_count,
    from_cost,
    to_cost
FROM amop.rate_plan_move
WHERE instance_id = %(instance_id)s
ORDER BY from_cost - to_cost DESC, from_rate_plan ASC NULLS FIRST, to_rate_plan ASC
