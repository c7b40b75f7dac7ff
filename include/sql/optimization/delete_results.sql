-- Purpose: take back the results of an instance before they are written again.
-- Parameters: instance_id.
-- Locks: the rows.
-- Repeatable: deleting nothing is no error.
DELETE FROM amop.optimization_device_result
WHERE instance_id = %(instance_id)s
