-- Purpose: how many plan changes of an instance are in which state.
-- Parameters: instance_id.
-- Locks: none beyond reading.
-- Repeatable: reads only.
SELECT
    state,
    count(*) AS changes
FROM amop.rate_plan_change
WHERE instance_id = %(instance_id)s
GROUP BY state
ORDER BY state
