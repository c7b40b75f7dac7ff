-- Purpose: store the saving against the present plans, which marks the results of the instance as written.
-- Parameters: instance_id.
-- Locks: the row.
-- Repeatable: yes.
UPDATE amop.optimization_instance
SET savings = current_cost - total_cost
WHERE id = %(instance_id)s
