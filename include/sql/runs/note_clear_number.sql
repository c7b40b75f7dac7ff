-- Purpose: record how often the DAG run of a run was cleared, as a task of it has just seen; the row count says whether
--   it was cleared since another task checked.
-- Parameters: run_id, clear_number (integer).
-- Locks: the run's row; a second task waits for the first one, which may reopen the run.
-- Repeatable: the number never goes back.
UPDATE amop.device_sync_run
SET clear_number = %(clear_number)s
WHERE id = %(run_id)s AND clear_number < %(clear_number)s
