-- Purpose: store the projection method of an instance and the usage days that it is based on.
-- Parameters: instance_id, projection (jsonb).
-- Locks: the row.
-- Repeatable: yes.
UPDATE amop.optimization_instance
SET projection = %(projection)s
WHERE id = %(instance_id)s
