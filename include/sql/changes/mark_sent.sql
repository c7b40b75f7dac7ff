-- Purpose: note that the write request of a plan change goes out now; no row is touched where it was taken back, or
--   where a newer instance has made it stale.
-- Parameters: change_id, now.
-- Locks: the row.
-- Repeatable: yes.
UPDATE amop.rate_plan_change
SET sent_at = %(now)s
WHERE id = %(change_id)s AND state = 'approved' AND amop.newer_instance(instance_id) IS NULL
