-- Purpose: resolve the quarantined list records that this run's list supersedes: those of SIMs that are listed again,
--   valid or not; after an exact full list, all of them.
-- Parameters: run_id, service_provider_id, is_exact_full, now.
-- Locks: the rows that change.
-- Repeatable: a resolved record is not written again.
UPDATE amop.device_quarantine AS old
SET resolved_at = %(now)s, resolution = 'superseded by run ' || %(run_id)s::bigint
FROM amop.device_sync_run AS old_run
WHERE
    old_run.id = old.run_id
    AND old_run.service_provider_id = %(service_provider_id)s
    AND old.kind = 'device'
    AND old.source IS DISTINCT FROM 'device_details'
    AND old.resolved_at IS NULL
    AND (
        old.iccid IN (SELECT staged.iccid FROM amop.device_staging AS staged WHERE staged.run_id = %(run_id)s)
        OR (old_run.id <> %(run_id)s AND %(is_exact_full)s)
        OR (
            old_run.id <> %(run_id)s
            AND old.record_key IN (
                SELECT again.record_key FROM amop.device_quarantine AS again
                WHERE again.run_id = %(run_id)s AND again.kind = 'device'
            )
        )
    )
