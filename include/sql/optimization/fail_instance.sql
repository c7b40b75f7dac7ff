-- Purpose: end a running instance with errors.
-- Parameters: instance_id, error, now.
-- Locks: the row.
-- Repeatable: an instance that has ended is left alone.
UPDATE amop.optimization_instance
SET
    run_status = 'complete_with_errors',
    error = %(error)s,
    ended_at = %(now)s
WHERE id = %(instance_id)s AND run_status = 'running'
