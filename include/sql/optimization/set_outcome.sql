-- Purpose: store the outcome of a comm group.
-- Parameters: comm_group_id, outcome.
-- Locks: the row.
-- Repeatable: yes.
UPDATE amop.optimization_comm_group
SET outcome = %(outcome)s
WHERE id = %(comm_group_id)s
