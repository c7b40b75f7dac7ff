-- Purpose: claim the next messages that may be sent now and reserve them until their next attempt is due. No other
--   process sends them meanwhile, and those of a killed process are sent again. Of a session only the oldest unsent
--   message may be sent, so a batch has one message of a session at most; after a dead-lettered one only the
--   ErrorMessage follows. Messages without an attempt come first. Found in the order of an index: see migration 0010.
-- Parameters: session_id (bigint or null = all), dedupe_key (text or null = all), now (timestamptz or null = the
--   database's clock), batch_size, first_delay_seconds, longest_delay_seconds (numbers).
-- Locks: the claimed rows, for this statement only; rows that another process is claiming are skipped.
-- Repeatable: every call claims other messages or none.
WITH present AS MATERIALIZED (
    SELECT coalesce(%(now)s::timestamptz, clock_timestamp()) AS now
),

head AS MATERIALIZED (
    SELECT candidate.id
    FROM amop.amop_outbox AS candidate
    WHERE
        candidate.state = 'pending'
        AND (candidate.attempts = 0 OR candidate.next_attempt_at <= (SELECT present.now FROM present))
        AND (%(session_id)s::bigint IS NULL OR candidate.session_id = %(session_id)s)
        AND (%(dedupe_key)s::text IS NULL OR candidate.dedupe_key = %(dedupe_key)s)
        -- Within an OR, PostgreSQL probes the index once per message instead of joining all messages.
        AND (
            candidate.session_id IS NULL
            OR NOT EXISTS (
                SELECT 1
                FROM amop.amop_outbox AS earlier
                WHERE
                    earlier.session_id = candidate.session_id
                    AND earlier.id < candidate.id
                    AND earlier.state = 'pending'
            )
        )
        AND (
            candidate.kind != 'progress'
            OR NOT EXISTS (
                SELECT 1
                FROM amop.amop_outbox AS refused
                WHERE
                    refused.session_id = candidate.session_id
                    AND refused.id < candidate.id
                    AND refused.state = 'dead'
            )
        )
    ORDER BY candidate.attempts, candidate.id
    LIMIT %(batch_size)s
    FOR UPDATE OF candidate SKIP LOCKED
)

UPDATE amop.amop_outbox AS message
SET
    attempts = message.attempts + 1,
    next_attempt_at = (SELECT present.now FROM present) + make_interval(
        secs => least(
            %(longest_delay_seconds)s::double precision,
            %(first_delay_seconds)s::double precision * power(2, least(message.attempts, 30))
        )
    )
WHERE message.id = any(array(SELECT head.id FROM head))
RETURNING message.id, message.kind, message.session_id, message.dedupe_key, message.payload, message.attempts
