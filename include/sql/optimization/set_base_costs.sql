-- Purpose: store the cost of the present plans and of the base assignment.
-- Parameters: instance_id, current_cost, base_cost.
-- Locks: the row.
-- Repeatable: yes.
UPDATE amop.optimization_instance
SET
    current_cost = %(current_cost)s,
    base_cost = %(base_cost)s
WHERE id = %(instance_id)s
