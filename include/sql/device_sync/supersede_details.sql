-- Purpose: resolve the quarantined details of earlier runs of the SIMs whose details this run has read again.
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
    AND old.kind = 'device'
    AND old.source = 'device_details'
    AND old.resolved_at IS NULL
    AND old.iccid IN (SELECT detail.iccid FROM amop.device_detail_staging AS detail WHERE detail.run_id = %(run_id)s)
