-- Purpose: record that no DAG run sends the rest of a session's approved plan changes, or that one does again.
-- Parameters: session_id, lost_at (timestamptz; null where a DAG run is active).
-- Locks: the session's row.
-- Repeatable: yes.
UPDATE amop.optimization_session
SET applying_lost_at = %(lost_at)s
WHERE id = %(session_id)s
