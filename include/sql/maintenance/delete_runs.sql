-- Purpose: delete a batch of expired runs. Kept are the latest complete run and the latest complete full list of a
--   provider, which determine the next list, and runs that are still referenced by quarantined records, responses that
--   are not archived, or a running session.
-- Parameters: before, batch (number of rows).
-- Locks: the deleted rows, and their ledger.
-- Repeatable: deletes the remaining rows.
DELETE FROM amop.device_sync_run
WHERE id IN (
    SELECT run.id
    FROM amop.device_sync_run AS run
    WHERE
        run.ended_at < %(before)s
        AND run.status <> 'running'
        AND run.staging_removed_at IS NOT NULL
        AND NOT EXISTS (SELECT 1 FROM amop.device_quarantine AS rejected WHERE rejected.run_id = run.id)
        AND NOT EXISTS (SELECT 1 FROM amop.carrier_page AS page WHERE page.run_id = run.id)
        AND NOT EXISTS (
            SELECT 1 FROM amop.optimization_session AS session
            WHERE session.id = run.optimization_session_id AND session.status = 'running'
        )
        AND (
            run.replayed_run_id IS NOT NULL
            OR run.status <> 'complete'
            OR (
                EXISTS (
                    SELECT 1 FROM amop.device_sync_run AS later
                    WHERE
                        later.service_provider_id = run.service_provider_id
                        AND later.status = 'complete' AND later.replayed_run_id IS NULL
                        AND later.id > run.id
                )
                AND (
                    NOT (run.is_full AND run.list_is_exact)
                    OR EXISTS (
                        SELECT 1 FROM amop.device_sync_run AS later
                        WHERE
                            later.service_provider_id = run.service_provider_id
                            AND later.status = 'complete' AND later.replayed_run_id IS NULL
                            AND later.is_full AND later.list_is_exact
                            AND later.id > run.id
                    )
                )
            )
        )
    ORDER BY run.id
    LIMIT %(batch)s
)
