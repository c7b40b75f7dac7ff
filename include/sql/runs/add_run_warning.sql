-- Purpose: add a warning to a run: an answer of the carrier that was merged although it is implausible.
-- Parameters: run_id, warning (a sentence).
-- Locks: the run's row.
-- Repeatable: the same warning is not added twice.
UPDATE amop.device_sync_run
SET warnings = array_append(warnings, %(warning)s::text)
WHERE id = %(run_id)s AND NOT %(warning)s::text = any(warnings)
