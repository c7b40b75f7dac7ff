-- Purpose: stamp a running session as alive.
-- Parameters: session_id, now (timestamptz or null = the database's clock).
-- Locks: the session's row.
-- Repeatable: the stamp never goes back.
UPDATE amop.optimization_session
SET heartbeat_at = greatest(heartbeat_at, coalesce(%(now)s::timestamptz, now()))
WHERE id = %(session_id)s AND status = 'running'
