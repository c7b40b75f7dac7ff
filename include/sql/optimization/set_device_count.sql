-- Purpose: the SIMs of a comm group as they were when the inputs of the instance were read.
-- Parameters: comm_group_id, device_count.
-- Locks: the row.
-- Repeatable: the same count is written again.
UPDATE amop.optimization_comm_group
SET device_count = %(device_count)s
WHERE id = %(comm_group_id)s
