-- Purpose: list the ended runs whose pages and work rows have expired. The staging of a run is always deleted before
--   its ledger; a run without staging cannot be reopened.
-- Parameters: before (timestamptz).
-- Locks: none beyond reading.
-- Repeatable: reads only.
SELECT run.id
FROM amop.device_sync_run AS run
WHERE
    run.status <> 'running'
    AND run.ended_at < %(before)s
    AND run.staging_removed_at IS NOT NULL
    AND (
        EXISTS (SELECT 1 FROM amop.device_sync_page AS ledger WHERE ledger.run_id = run.id)
        OR EXISTS (SELECT 1 FROM amop.device_usage_processed AS ledger WHERE ledger.run_id = run.id)
        OR EXISTS (SELECT 1 FROM amop.device_usage_to_process AS ledger WHERE ledger.run_id = run.id)
    )
ORDER BY run.id
