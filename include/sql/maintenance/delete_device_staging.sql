-- Purpose: delete a batch of the staging of a run that was given up.
-- Parameters: run_id, batch (rows).
-- Locks: the deleted rows.
-- Repeatable: deletes what is left.
DELETE FROM amop.device_staging
WHERE ctid = any(array(
    SELECT staged.ctid FROM amop.device_staging AS staged
    WHERE staged.run_id = %(run_id)s
    ORDER BY staged.scan_pass
    LIMIT %(batch)s
))
