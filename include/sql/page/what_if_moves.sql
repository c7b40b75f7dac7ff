-- Purpose: return the moves of a what-if, the most SIMs first.
-- Parameters: what_if_id.
-- Locks: none, reads only.
-- Repeatable: yes.
SELECT
    from_rate_plan,
    to_rate_plan,
    sims
FROM amop.what_if_move
WHERE what_if_id = %(what_if_id)s
ORDER BY sims DESC, from_rate_plan ASC, to_rate_plan ASC
