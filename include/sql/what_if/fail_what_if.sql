-- Purpose: end a what-if with an error.
-- Parameters: what_if_id, error, now.
-- Locks: the row.
-- Repeatable: yes.
UPDATE amop.what_if
SET
    status = 'failed',
    error = %(error)s,
    ended_at = %(now)s
WHERE id = %(what_if_id)s
