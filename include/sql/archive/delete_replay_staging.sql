-- Purpose: delete the staging of an earlier attempt of a replay.
-- Parameters: run_id.
-- Locks: the deleted rows.
-- Repeatable: deletes nothing the second time.
WITH pages AS (
    DELETE FROM amop.device_sync_page WHERE run_id = %(run_id)s
),

devices AS (
    DELETE FROM amop.device_staging WHERE run_id = %(run_id)s
),

quarantined AS (
    DELETE FROM amop.device_quarantine WHERE run_id = %(run_id)s
)

DELETE FROM amop.device_usage_staging
WHERE run_id = %(run_id)s
