-- Purpose: store the number of SIMs of a comm group when the inputs of the instance were read.
-- Parameters: comm_group_id, device_count.
-- Locks: the row.
-- Repeatable: yes.
UPDATE amop.optimization_comm_group
SET device_count = %(device_count)s
WHERE id = %(comm_group_id)s
