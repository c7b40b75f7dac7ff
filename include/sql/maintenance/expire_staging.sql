-- Purpose: make an ended run final, so that no task can reopen it; its staging may then be deleted in batches.
-- Parameters: run_id, before, now.
-- Locks: the run's row.
-- Repeatable: checks again that the run has ended; the first time is kept.
UPDATE amop.device_sync_run
SET
    error = CASE
        WHEN status = 'failed' AND staging_removed_at IS NULL
            THEN concat_ws('. ', error, 'Its staging was removed by maintenance: start a new run')
        ELSE error
    END,
    staging_removed_at = coalesce(staging_removed_at, %(now)s)
WHERE id = %(run_id)s AND status <> 'running' AND ended_at < %(before)s
