-- Purpose: record the result of sending notifications: sent, to be tried again, or failed for good.
-- Parameters: ids (bigint[]), state, error (text or null), next_attempt_at, sent_at (timestamptz or null).
-- Locks: the rows.
-- Repeatable: a row that is no longer pending is left unchanged.
UPDATE amop.notification
SET
    state = %(state)s,
    attempts = attempts + 1,
    last_error = %(error)s,
    next_attempt_at = %(next_attempt_at)s,
    sent_at = %(sent_at)s
WHERE id = any(%(ids)s::bigint[]) AND state = 'pending'
