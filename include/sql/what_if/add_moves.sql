-- Purpose: add the moves of a what-if.
-- Parameters: what_if_id, from_rate_plans and to_rate_plans (text[]), sims (integer[]), all of one length.
-- Locks: the new rows.
-- Repeatable: in one transaction with delete_moves.
INSERT INTO amop.what_if_move (what_if_id, from_rate_plan, to_rate_plan, sims)
SELECT
    %(what_if_id)s,
    move.from_rate_plan,
    move.to_rate_plan,
    move.sims
FROM
    unnest(%(from_rate_plans)s::text[], %(to_rate_plans)s::text[], %(sims)s::integer[])
    AS move (from_rate_plan, to_rate_plan, sims)
