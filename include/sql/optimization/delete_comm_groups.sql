-- Purpose: take back the comm groups of an instance before they are written again.
-- Parameters: instance_id.
-- Locks: the rows.
-- Repeatable: deleting nothing is no error.
DELETE FROM amop.optimization_comm_group
WHERE instance_id = %(instance_id)s
