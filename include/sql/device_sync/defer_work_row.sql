-- Purpose: move a read that failed to the end of the queue.
-- Parameters: work_row_id.
-- Locks: the work row.
-- Repeatable: no; each call is one failed attempt.
UPDATE amop.device_usage_to_process
SET attempts = least(attempts + 1, 1000)
WHERE id = %(work_row_id)s
