-- Purpose: resolve the quarantined usage records that this run supersedes. Usage is counted from the start of the
--   billing period and every run reads all of it, so the records of earlier runs add nothing.
-- Parameters: run_id, service_provider_id, now.
-- Locks: the rows that change.
-- Repeatable: a resolved record is not written again.
UPDATE amop.device_quarantine AS old
SET resolved_at = %(now)s, resolution = 'superseded by run ' || %(run_id)s::bigint
FROM amop.device_sync_run AS old_run
WHERE
    old_run.id = old.run_id
    AND old_run.service_provider_id = %(service_provider_id)s
    AND old_run.id <> %(run_id)s
    AND old.kind = 'usage'
    AND old.resolved_at IS NULL
