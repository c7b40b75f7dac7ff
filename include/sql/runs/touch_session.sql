-- Purpose: record a heartbeat of a running session.
-- Parameters: session_id, now (timestamptz or null = the database's clock).
-- Locks: the session's row.
-- Repeatable: the time never goes back.
UPDATE amop.optimization_session
SET heartbeat_at = greatest(heartbeat_at, coalesce(%(now)s::timestamptz, now()))
WHERE id = %(session_id)s AND status = 'running'
