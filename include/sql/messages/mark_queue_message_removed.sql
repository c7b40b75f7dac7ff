-- Purpose: record that a message was deleted from the queue.
-- Parameters: message_id, now.
-- Locks: the message's row.
-- Repeatable: the first time is kept.
UPDATE amop.queue_message
SET removed_at = coalesce(removed_at, %(now)s)
WHERE message_id = %(message_id)s
