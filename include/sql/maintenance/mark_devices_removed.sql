-- Purpose: mark an instance whose rows per SIM are being deleted: no report and no measurement of savings uses it
--   afterwards.
-- Parameters: instance_id, now.
-- Locks: the instance's row.
-- Repeatable: the first time is kept.
UPDATE amop.optimization_instance
SET devices_removed_at = coalesce(devices_removed_at, %(now)s)
WHERE id = %(instance_id)s
