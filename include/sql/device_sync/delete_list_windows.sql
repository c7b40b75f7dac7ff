-- Purpose: delete the windows of a run's list, to plan others.
-- Parameters: run_id.
-- Locks: the deleted rows.
-- Repeatable: deletes nothing the second time.
DELETE FROM amop.device_list_window
WHERE run_id = %(run_id)s
