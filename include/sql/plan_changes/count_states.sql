-- Purpose: return the number of plan changes of an instance by state; proposed ones that wait for a later instance are
--   counted as waiting.
-- Parameters: instance_id.
-- Locks: none, reads only.
-- Repeatable: yes.
SELECT
    CASE WHEN state = 'proposed' AND waits_reason IS NOT NULL THEN 'waiting' ELSE state END AS state,
    count(*) AS change_count
FROM amop.rate_plan_change
WHERE instance_id = %(instance_id)s
GROUP BY 1
ORDER BY 1
