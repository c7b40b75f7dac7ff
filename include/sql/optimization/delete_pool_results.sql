-- Purpose: take back what each pool adds to the bills of an instance before it is written again.
-- Parameters: instance_id.
-- Locks: the rows.
-- Repeatable: deleting nothing is no error.
DELETE FROM amop.optimization_pool_result
WHERE instance_id = %(instance_id)s
