-- Purpose: mark a message as accepted by AMOP.
-- Parameters: message_id, now (timestamptz or null = the database's clock).
-- Locks: the message's row.
-- Repeatable: only a pending message changes.
UPDATE amop.amop_outbox
SET state = 'sent', sent_at = coalesce(%(now)s::timestamptz, clock_timestamp()), last_error = NULL
WHERE id = %(message_id)s AND state = 'pending'
