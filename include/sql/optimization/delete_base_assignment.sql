-- Purpose: take away the base assignment of an instance, before it is written.
-- Parameters: instance_id.
-- Locks: the rows that are deleted.
-- Repeatable: deletes what is there.
DELETE FROM amop.optimization_base_assignment
WHERE instance_id = %(instance_id)s
