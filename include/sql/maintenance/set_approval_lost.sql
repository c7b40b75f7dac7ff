-- Purpose: record that the approval of a session can no longer be answered, or that it can again.
-- Parameters: session_id, lost_at (timestamptz; null where it can be answered).
-- Locks: the session's row.
-- Repeatable: yes.
UPDATE amop.optimization_session
SET approval_lost_at = %(lost_at)s
WHERE id = %(session_id)s
