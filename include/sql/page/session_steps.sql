-- Purpose: return the messages of a session to AMOP in order: percent or error, and when each was written and sent.
-- Parameters: session_id.
-- Locks: none, reads only.
-- Repeatable: yes.
SELECT
    message.kind,
    (message.payload -> 'data' ->> 'Progress')::int AS progress,
    message.state,
    message.created_at,
    message.sent_at,
    message.attempts,
    message.last_error
FROM amop.amop_outbox AS message
WHERE message.session_id = %(session_id)s
ORDER BY message.id
