-- Purpose: delete a batch of messages that AMOP took, or refused for good, long ago. A session that runs, or has a
--   message that waits, keeps all of its messages: their order is judged by them.
-- Parameters: sent_before, dead_before, batch (rows).
-- Locks: the deleted rows.
-- Repeatable: deletes what is left; a pending message is never deleted.
DELETE FROM amop.amop_outbox
WHERE id IN (
    SELECT message.id
    FROM amop.amop_outbox AS message
    LEFT JOIN amop.optimization_session AS session ON message.session_id = session.id
    WHERE
        (
            (message.state = 'sent' AND message.sent_at < %(sent_before)s)
            OR (message.state = 'dead' AND message.created_at < %(dead_before)s)
        )
        AND session.status IS DISTINCT FROM 'running'
        AND NOT EXISTS (
            SELECT 1 FROM amop.amop_outbox AS waiting
            WHERE waiting.session_id = message.session_id AND waiting.state = 'pending'
        )
    ORDER BY message.id
    LIMIT %(batch)s
)
