-- Purpose: record the heartbeat of a running session. A locked row is being changed by a live process: skipped.
-- Parameters: session_id, now (timestamptz or null = the database's clock).
-- Locks: the session's row, within one statement, without waiting for it.
-- Repeatable: the time never goes back.
UPDATE amop.optimization_session
SET heartbeat_at = greatest(heartbeat_at, coalesce(%(now)s::timestamptz, clock_timestamp()))
WHERE id IN (
    SELECT id FROM amop.optimization_session
    WHERE id = %(session_id)s AND status = 'running'
    FOR UPDATE SKIP LOCKED
)
