-- Purpose: lock a session before it is advanced, completed or failed, so that its messages enter the outbox in the
--   order of their ids.
-- Parameters: session_id.
-- Locks: the session's row, until the transaction ends.
-- Repeatable: changes nothing.
SELECT id
FROM amop.optimization_session
WHERE id = %(session_id)s
FOR UPDATE
