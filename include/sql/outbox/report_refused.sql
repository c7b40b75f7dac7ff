-- Purpose: the messages that AMOP refused and that no run of the relay has reported; they are this run's from now on.
--   What was given up behind a refused message of the same session is not reported by itself.
-- Parameters: reported_in (id of the relay's run).
-- Locks: the rows changed.
-- Repeatable: the same run gets the same messages again, another run none of them.
UPDATE amop.amop_outbox AS message
SET reported_in = %(reported_in)s
WHERE
    message.state = 'dead'
    AND (message.reported_in IS NULL OR message.reported_in = %(reported_in)s)
    AND NOT EXISTS (
        SELECT 1
        FROM amop.amop_outbox AS earlier
        WHERE
            earlier.session_id = message.session_id
            AND earlier.state = 'dead'
            AND earlier.id < message.id
    )
RETURNING message.id, message.dedupe_key, message.last_error
