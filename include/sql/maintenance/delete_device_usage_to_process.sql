-- Purpose: delete a batch of the ledger of runs that ended long ago; never before their staging.
-- Parameters: before, batch (rows).
-- Locks: the deleted rows.
-- Repeatable: deletes what is left.
DELETE FROM amop.device_usage_to_process
WHERE ctid = any(array(
    SELECT ledger.ctid FROM amop.device_usage_to_process AS ledger
    INNER JOIN amop.device_sync_run AS run ON ledger.run_id = run.id
    WHERE run.ended_at < %(before)s AND run.status <> 'running' AND run.staging_removed_at IS NOT NULL
    ORDER BY ledger.run_id
    LIMIT %(batch)s
))
