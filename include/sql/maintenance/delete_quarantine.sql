-- Purpose: delete a batch of quarantined records: those that were resolved and, much later, those that nobody
--   resolved. A running run keeps its own: its balance is proved by them.
-- Parameters: resolved_before, open_before, batch (rows).
-- Locks: the deleted rows.
-- Repeatable: deletes what is left.
DELETE FROM amop.device_quarantine
WHERE id IN (
    SELECT rejected.id
    FROM amop.device_quarantine AS rejected
    INNER JOIN amop.device_sync_run AS run ON rejected.run_id = run.id
    WHERE
        (
            rejected.resolved_at < %(resolved_before)s
            OR (rejected.resolved_at IS NULL AND rejected.quarantined_at < %(open_before)s)
        )
        AND run.status <> 'running'
    ORDER BY rejected.id
    LIMIT %(batch)s
)
