-- Purpose: return the number of plan changes of an instance by state.
-- Parameters: instance_id.
-- Locks: none, reads only.
-- Repeatable: yes.
SELECT
    state,
    count(*) AS change_count
FROM amop.rate_plan_change
WHERE instance_id = %(instance_id)s
GROUP BY state
ORDER BY state
