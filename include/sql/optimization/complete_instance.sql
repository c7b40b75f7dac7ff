-- Purpose: end a running instance as complete.
-- Parameters: instance_id, now.
-- Locks: the row.
-- Repeatable: yes; an ended instance stays as it is.
UPDATE amop.optimization_instance
SET
    run_status = 'complete_with_success',
    ended_at = %(now)s
WHERE id = %(instance_id)s AND run_status = 'running'
