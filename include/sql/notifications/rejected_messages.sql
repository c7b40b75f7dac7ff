-- Purpose: list the queue messages that were rejected since a moment, oldest first.
-- Parameters: since (timestamptz).
-- Locks: none beyond reading.
-- Repeatable: reads only.
SELECT
    message_id,
    coalesce(reason, 'the reason was not recorded') AS reason,
    received_at,
    dag_run_id
FROM amop.queue_message
WHERE outcome = 'rejected' AND received_at > %(since)s
ORDER BY received_at, message_id
