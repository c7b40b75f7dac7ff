-- Purpose: end the running instance of a session that has failed or was cancelled, with the session's error.
-- Parameters: session_id, now.
-- Locks: the row.
-- Repeatable: an instance that has ended, or whose session still runs, is left alone.
UPDATE amop.optimization_instance AS instance
SET
    run_status = 'complete_with_errors',
    error = session.error,
    ended_at = %(now)s
FROM amop.optimization_session AS session
WHERE
    instance.session_id = session.id
    AND session.id = %(session_id)s
    AND session.status IN ('failed', 'cancelled')
    AND instance.run_status = 'running'
