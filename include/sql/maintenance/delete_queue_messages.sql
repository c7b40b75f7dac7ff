-- Purpose: delete a batch of expired queue messages that started no clean-up; the others are deleted with their runs.
-- Parameters: received_before, batch (number of rows).
-- Locks: the deleted rows.
-- Repeatable: deletes the remaining rows. SQS delivers no message for longer than 14 days, so none comes back.
DELETE FROM amop.queue_message
WHERE message_id IN (
    SELECT message.message_id
    FROM amop.queue_message AS message
    WHERE message.run_id IS NULL AND message.last_received_at < %(received_before)s
    ORDER BY message.message_id
    LIMIT %(batch)s
)
