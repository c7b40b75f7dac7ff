-- Purpose: delete a batch of expired messages that AMOP accepted or refused. A session that is running, or has a
--   pending message, keeps all of its messages, because the delivery order depends on them.
-- Parameters: sent_before, dead_before, batch (number of rows).
-- Locks: the deleted rows.
-- Repeatable: deletes the remaining rows; a pending message is never deleted.
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
