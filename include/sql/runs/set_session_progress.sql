-- Purpose: advance a running session; 100 completes it.
-- Parameters: session_id, progress (percent), now (timestamptz or null = the database's clock).
-- Locks: the session's row.
-- Repeatable: an ended session, or one with the same or later progress, is not changed.
UPDATE amop.optimization_session
SET
    progress = %(progress)s,
    status = CASE WHEN %(progress)s = 100 THEN 'complete' ELSE status END,
    heartbeat_at = greatest(heartbeat_at, coalesce(%(now)s::timestamptz, now())),
    ended_at = CASE WHEN %(progress)s = 100 THEN coalesce(%(now)s::timestamptz, now()) END
WHERE id = %(session_id)s AND status = 'running' AND progress < %(progress)s
