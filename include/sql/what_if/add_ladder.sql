-- Purpose: add a ladder of a what-if.
-- Parameters: what_if_id, rate_plans (text[], the new plans), cost, bound, changes.
-- Locks: the new row.
-- Repeatable: in one transaction with delete_ladders.
INSERT INTO amop.what_if_ladder (what_if_id, rate_plans, cost, bound, changes)
VALUES (%(what_if_id)s, %(rate_plans)s::text[], %(cost)s, %(bound)s, %(changes)s)
