-- Purpose: return the newest device sync run of a session, if a sync opened the session.
-- Parameters: session_id.
-- Locks: none, reads only.
-- Repeatable: yes.
SELECT
    id,
    status
FROM amop.device_sync_run
WHERE optimization_session_id = %(session_id)s
ORDER BY id DESC
LIMIT 1
