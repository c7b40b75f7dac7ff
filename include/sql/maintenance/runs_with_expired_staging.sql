-- Purpose: list the ended runs whose staging has expired, and those whose deletion was interrupted. A run whose
--   responses are not archived keeps its staging.
-- Parameters: before.
-- Locks: none beyond reading.
-- Repeatable: reads only.
SELECT run.id
FROM amop.device_sync_run AS run
WHERE
    run.status <> 'running'
    AND run.ended_at < %(before)s
    AND NOT EXISTS (SELECT 1 FROM amop.carrier_page AS page WHERE page.run_id = run.id)
    AND (
        run.staging_removed_at IS NULL
        OR EXISTS (SELECT 1 FROM amop.device_staging AS staged WHERE staged.run_id = run.id)
        OR EXISTS (SELECT 1 FROM amop.device_usage_staging AS staged WHERE staged.run_id = run.id)
        OR EXISTS (SELECT 1 FROM amop.device_detail_staging AS staged WHERE staged.run_id = run.id)
    )
ORDER BY run.id
