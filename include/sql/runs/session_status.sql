-- Purpose: read the status of a session.
-- Parameters: session_id (bigint).
-- Locks: none beyond reading.
-- Repeatable: reads only.
SELECT status
FROM amop.optimization_session
WHERE id = %(session_id)s
