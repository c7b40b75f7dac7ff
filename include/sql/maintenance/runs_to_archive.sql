-- Purpose: list the ended runs with responses that are not archived. A run that can be reopened keeps them until its
--   staging expires.
-- Parameters: settled_before (a task of a run that ended later may still be archiving), staging_before.
-- Locks: none beyond reading.
-- Repeatable: reads only.
SELECT run.id
FROM amop.device_sync_run AS run
WHERE
    run.status <> 'running'
    AND EXISTS (SELECT 1 FROM amop.carrier_page AS page WHERE page.run_id = run.id)
    AND (
        run.ended_at < %(staging_before)s
        OR (
            run.ended_at < %(settled_before)s
            AND run.list_is_complete
            AND NOT EXISTS (SELECT 1 FROM amop.device_usage_to_process AS work WHERE work.run_id = run.id)
        )
    )
ORDER BY run.id
