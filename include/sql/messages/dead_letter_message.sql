-- Purpose: dead-letter a message that AMOP rejects, with AMOP's error. The relay reports it, also after an earlier
--   report.
-- Parameters: message_id, last_error.
-- Locks: the message's row.
-- Repeatable: only a pending message changes.
UPDATE amop.amop_outbox
SET state = 'dead', last_error = %(last_error)s, reported_in = NULL
WHERE id = %(message_id)s AND state = 'pending'
