-- Purpose: stamp a running session as alive. A row that is locked is being changed by somebody alive: skipped.
-- Parameters: session_id, now (timestamptz).
-- Locks: the session's row, within one statement, and never waiting for it.
-- Repeatable: the stamp never goes back.
UPDATE amop.optimization_session
SET heartbeat_at = greatest(heartbeat_at, %(now)s)
WHERE id IN (
    SELECT id FROM amop.optimization_session
    WHERE id = %(session_id)s AND status = 'running'
    FOR UPDATE SKIP LOCKED
)
