-- Purpose: take back what each rate plan adds to the bills of an instance before it is written again.
-- Parameters: instance_id.
-- Locks: the rows.
-- Repeatable: deleting nothing is no error.
DELETE FROM amop.optimization_rate_plan_result
WHERE instance_id = %(instance_id)s
