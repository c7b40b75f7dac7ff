-- Purpose: list the messages that AMOP has not accepted, oldest first.
-- Parameters: row_limit.
-- Locks: none beyond reading.
-- Repeatable: reads only.
SELECT
    id,
    session_id,
    dedupe_key,
    state,
    attempts,
    created_at,
    next_attempt_at,
    last_error
FROM amop.amop_outbox
WHERE state <> 'sent'
ORDER BY id
LIMIT %(row_limit)s
