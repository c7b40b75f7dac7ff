-- Purpose: the saving against the present plans; with it the results of the instance are written.
-- Parameters: instance_id.
-- Locks: the row.
-- Repeatable: the same figure is written again.
UPDATE amop.optimization_instance
SET savings = current_cost - total_cost
WHERE id = %(instance_id)s
