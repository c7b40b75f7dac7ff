-- Purpose: record why an attempt failed, and delay the next attempt when AMOP requested a longer delay.
-- Parameters: message_id, attempts (of the failed attempt), last_error, delay_seconds (that AMOP requested, else 0),
--   now (timestamptz or null = the database's clock).
-- Locks: the message's row.
-- Repeatable: only a pending message without a later attempt changes.
UPDATE amop.amop_outbox
SET
    last_error = %(last_error)s,
    next_attempt_at = greatest(
        next_attempt_at,
        coalesce(%(now)s::timestamptz, clock_timestamp())
        + make_interval(secs => %(delay_seconds)s::double precision)
    )
WHERE id = %(message_id)s AND state = 'pending' AND attempts = %(attempts)s
