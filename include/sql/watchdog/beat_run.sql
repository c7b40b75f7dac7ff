-- Purpose: stamp a running device sync run as alive. A row that is locked is being changed by somebody alive: skipped.
-- Parameters: sync_run_id, now (timestamptz).
-- Locks: the run's row, within one statement, and never waiting for it.
-- Repeatable: the stamp never goes back.
UPDATE amop.device_sync_run
SET heartbeat_at = greatest(heartbeat_at, %(now)s)
WHERE id IN (
    SELECT id FROM amop.device_sync_run
    WHERE id = %(sync_run_id)s AND status = 'running'
    FOR UPDATE SKIP LOCKED
)
