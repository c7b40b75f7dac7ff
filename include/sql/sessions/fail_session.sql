-- Purpose: end a running session as failed, with the text that AMOP gets.
-- Parameters: session_id, error, now (timestamptz or null = the database's clock).
-- Locks: the session's row.
-- Repeatable: a session that has ended is left alone.
UPDATE amop.optimization_session
SET
    status = 'failed',
    error = %(error)s,
    ended_at = coalesce(%(now)s::timestamptz, now())
WHERE id = %(session_id)s AND status = 'running'
