-- Purpose: the newest device sync run of a session, if a sync opened it.
-- Parameters: session_id.
-- Locks: none beyond reading.
-- Repeatable: reads only.
SELECT
    id,
    status,
    error
FROM amop.device_sync_run
WHERE optimization_session_id = %(session_id)s
ORDER BY id DESC
LIMIT 1
