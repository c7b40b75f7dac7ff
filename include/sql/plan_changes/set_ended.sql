-- Purpose: store what became of the plan changes of an instance that waited until their billing period closed.
-- Parameters: instance_id, status, reason.
-- Locks: the instance's row.
-- Repeatable: yes; the same is stored again.
UPDATE amop.optimization_instance
SET changes_status = %(status)s, changes_reason = %(reason)s
WHERE id = %(instance_id)s
