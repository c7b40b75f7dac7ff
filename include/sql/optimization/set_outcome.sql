-- Purpose: note what is done with a comm group.
-- Parameters: comm_group_id, outcome.
-- Locks: the row.
-- Repeatable: the same outcome is written again.
UPDATE amop.optimization_comm_group
SET outcome = %(outcome)s
WHERE id = %(comm_group_id)s
