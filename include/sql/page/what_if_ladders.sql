-- Purpose: return the choices of new plans of a what-if, the cheapest first.
-- Parameters: what_if_id.
-- Locks: none, reads only.
-- Repeatable: yes.
SELECT
    rate_plans,
    cost,
    bound,
    changes
FROM amop.what_if_ladder
WHERE what_if_id = %(what_if_id)s
ORDER BY cost, rate_plans
