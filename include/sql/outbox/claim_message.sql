-- Purpose: take the next message that may be sent now and reserve it until its next try is due, so that no other
--   process sends it meanwhile and a killed process's message is sent again. Of a session only its oldest unsent
--   message may go; after a dead one no further progress goes, only the ErrorMessage. Never-tried messages first.
-- Parameters: session_id (bigint or null = all), dedupe_key (text or null = all), now (timestamptz),
--   first_delay_seconds, longest_delay_seconds (numbers).
-- Locks: the row taken, for this statement only; a row that another process is taking is passed over.
-- Repeatable: every call takes another message or none.
UPDATE amop.amop_outbox AS message
SET
    attempts = message.attempts + 1,
    next_attempt_at = %(now)s::timestamptz + make_interval(
        secs => least(
            %(longest_delay_seconds)s::double precision,
            %(first_delay_seconds)s::double precision * power(2, least(message.attempts, 30))
        )
    )
WHERE
    message.id = (
        SELECT candidate.id
        FROM amop.amop_outbox AS candidate
        WHERE
            candidate.state = 'pending'
            AND (candidate.attempts = 0 OR candidate.next_attempt_at <= %(now)s)
            AND (%(session_id)s::bigint IS NULL OR candidate.session_id = %(session_id)s)
            AND (%(dedupe_key)s::text IS NULL OR candidate.dedupe_key = %(dedupe_key)s)
            AND NOT EXISTS (
                SELECT 1
                FROM amop.amop_outbox AS earlier
                WHERE
                    earlier.session_id = candidate.session_id
                    AND earlier.id < candidate.id
                    AND (earlier.state = 'pending' OR (earlier.state = 'dead' AND candidate.kind = 'progress'))
            )
        ORDER BY candidate.attempts, candidate.id
        LIMIT 1
        FOR UPDATE OF candidate SKIP LOCKED
    )
RETURNING message.id, message.kind, message.session_id, message.dedupe_key, message.payload, message.attempts
