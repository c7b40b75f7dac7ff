-- Purpose: record which optimization session a run feeds.
-- Parameters: run_id, optimization_session_id.
-- Locks: the run's row.
-- Repeatable: writes the same value again.
UPDATE amop.device_sync_run
SET optimization_session_id = %(optimization_session_id)s
WHERE id = %(run_id)s
