-- Purpose: how the usage of an instance is projected: the method, and the usage days that it rests on.
-- Parameters: instance_id, projection (jsonb).
-- Locks: the row.
-- Repeatable: the same document is written again.
UPDATE amop.optimization_instance
SET projection = %(projection)s
WHERE id = %(instance_id)s
