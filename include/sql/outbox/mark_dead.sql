-- Purpose: give up a message that AMOP refuses for good, with what AMOP said; the relay reports that, also anew.
-- Parameters: message_id, last_error.
-- Locks: the message's row.
-- Repeatable: only a pending message changes.
UPDATE amop.amop_outbox
SET state = 'dead', last_error = %(last_error)s, reported_in = NULL
WHERE id = %(message_id)s AND state = 'pending'
