-- Purpose: assign the dead-lettered messages that no run of the relay has reported to this run, and return them. The
--   messages that were dead-lettered because they follow one of these are not reported.
-- Parameters: reported_in (id of the relay's run).
-- Locks: the changed rows.
-- Repeatable: the same run gets the same messages again, another run gets none of them.
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
