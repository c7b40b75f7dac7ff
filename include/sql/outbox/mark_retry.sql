-- Purpose: note why a message was not taken, and put its next try off where AMOP asked for a longer wait.
-- Parameters: message_id, attempts (those of the try that failed), last_error, not_before (timestamptz).
-- Locks: the message's row.
-- Repeatable: only a pending message that nobody has tried since changes.
UPDATE amop.amop_outbox
SET last_error = %(last_error)s, next_attempt_at = greatest(next_attempt_at, %(not_before)s)
WHERE id = %(message_id)s AND state = 'pending' AND attempts = %(attempts)s
