-- Purpose: note that AMOP has taken a message.
-- Parameters: message_id, now.
-- Locks: the message's row.
-- Repeatable: only a pending message changes.
UPDATE amop.amop_outbox
SET state = 'sent', sent_at = %(now)s, last_error = NULL
WHERE id = %(message_id)s AND state = 'pending'
