-- Purpose: record the heartbeat of a running sync run. A locked row is being changed by a live process: skipped.
-- Parameters: sync_run_id, now (timestamptz or null = the database's clock).
-- Locks: the run's row, within one statement, without waiting for it.
-- Repeatable: the time never goes back.
UPDATE amop.device_sync_run
SET heartbeat_at = greatest(heartbeat_at, coalesce(%(now)s::timestamptz, clock_timestamp()))
WHERE id IN (
    SELECT id FROM amop.device_sync_run
    WHERE id = %(sync_run_id)s AND status = 'running'
    FOR UPDATE SKIP LOCKED
)
