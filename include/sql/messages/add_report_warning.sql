-- Purpose: add a warning to a run: one of its reports could not be delivered at once.
-- Parameters: run_id, warning (a sentence).
-- Locks: the run's row.
-- Repeatable: the same warning is not added twice.
UPDATE amop.device_sync_run
SET report_warnings = array_append(report_warnings, %(warning)s::text)
WHERE id = %(run_id)s AND NOT %(warning)s::text = any(report_warnings)
