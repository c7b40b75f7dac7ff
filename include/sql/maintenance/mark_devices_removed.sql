-- Purpose: from here on nobody makes a report of the instance or measures it; then its SIMs may go piece by piece.
-- Parameters: instance_id, now.
-- Locks: the instance's row.
-- Repeatable: the first time is kept.
UPDATE amop.optimization_instance
SET devices_removed_at = coalesce(devices_removed_at, %(now)s)
WHERE id = %(instance_id)s
