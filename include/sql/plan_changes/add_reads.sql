-- Purpose: count the reads at the carrier that checked the plan changes of an instance or read them back.
-- Parameters: instance_id, read_count.
-- Locks: the instance's row.
-- Repeatable: no, each call adds its reads; it is made once for them.
UPDATE amop.optimization_instance
SET changes_read_count = changes_read_count + %(read_count)s
WHERE id = %(instance_id)s
