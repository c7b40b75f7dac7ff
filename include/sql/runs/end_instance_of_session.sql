-- Purpose: end the running instance of a failed or cancelled session, with the session's error.
-- Parameters: session_id, now (timestamptz or null = the database's clock).
-- Locks: the instance's row.
-- Repeatable: an ended instance, or one whose session is running, is not changed.
UPDATE amop.optimization_instance AS instance
SET
    run_status = 'complete_with_errors',
    error = session.error,
    ended_at = coalesce(%(now)s::timestamptz, clock_timestamp())
FROM amop.optimization_session AS session
WHERE
    instance.session_id = session.id
    AND session.id = %(session_id)s
    AND session.status IN ('failed', 'cancelled')
    AND instance.run_status = 'running'
