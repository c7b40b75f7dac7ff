-- Purpose: record a further delivery of a queue message that was received before, and return what became of it.
-- Parameters: message_id, now.
-- Locks: the message's row.
-- Repeatable: counts one more delivery.
UPDATE amop.queue_message
SET
    deliveries = deliveries + 1,
    last_received_at = greatest(last_received_at, %(now)s)
WHERE message_id = %(message_id)s
RETURNING outcome, reason, run_id, removed_at
