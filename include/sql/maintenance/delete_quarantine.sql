-- Purpose: delete a batch of expired quarantined records: resolved ones, and much older unresolved ones. A running run
--   keeps its records, because its balance counts them.
-- Parameters: resolved_before, open_before, batch (number of rows).
-- Locks: the deleted rows.
-- Repeatable: deletes the remaining rows.
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
