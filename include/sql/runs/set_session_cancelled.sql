-- Purpose: cancel a running session, with the text that AMOP receives.
-- Parameters: session_id, error, now (timestamptz or null = the database's clock).
-- Locks: the session's row.
-- Repeatable: an ended session is not changed.
UPDATE amop.optimization_session
SET
    status = 'cancelled',
    error = %(error)s,
    ended_at = coalesce(%(now)s::timestamptz, now())
WHERE id = %(session_id)s AND status = 'running'
