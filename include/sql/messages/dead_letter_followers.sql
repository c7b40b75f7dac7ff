-- Purpose: dead-letter the progress messages that follow a dead-lettered message of their session: AMOP must not
--   receive a step without the steps before it.
-- Parameters: session_id (bigint or null = all sessions).
-- Locks: the changed rows.
-- Repeatable: only pending messages change.
UPDATE amop.amop_outbox AS follower
SET state = 'dead', last_error = 'not sent, because AMOP refused ' || dead.dedupe_key || ' before it'
FROM (
    SELECT DISTINCT ON (message.session_id)
        message.session_id,
        message.id,
        message.dedupe_key
    FROM amop.amop_outbox AS message
    WHERE
        message.state = 'dead'
        AND message.session_id IN (
            SELECT waiting.session_id
            FROM amop.amop_outbox AS waiting
            WHERE
                waiting.state = 'pending'
                AND waiting.kind = 'progress'
                AND (%(session_id)s::bigint IS NULL OR waiting.session_id = %(session_id)s)
        )
    ORDER BY message.session_id, message.id
) AS dead
WHERE
    follower.session_id = dead.session_id
    AND follower.id > dead.id
    AND follower.kind = 'progress'
    AND follower.state = 'pending'
