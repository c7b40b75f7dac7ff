-- Purpose: end a run as complete, failed or refused.
-- Parameters: run_id, status, error, now (timestamptz or null = the database's clock).
-- Locks: the run's row.
-- Repeatable: only a running run is ended; ending it twice changes nothing.
UPDATE amop.device_sync_run
SET status = %(status)s, error = %(error)s, ended_at = coalesce(%(now)s::timestamptz, clock_timestamp())
WHERE id = %(run_id)s AND status = 'running'
RETURNING optimization_session_id
