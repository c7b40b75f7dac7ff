-- Purpose: return the oldest message that AMOP has not accepted although it was sent before a moment, with the number
--   of waiting messages; no row if there is none.
-- Parameters: before (timestamptz).
-- Locks: none beyond reading.
-- Repeatable: reads only.
SELECT
    message.id AS message_id,
    message.created_at AS waiting_since,
    message.last_error,
    (SELECT count(*) FROM amop.amop_outbox AS other WHERE other.state = 'pending') AS waiting
FROM amop.amop_outbox AS message
WHERE message.state = 'pending' AND message.attempts > 0 AND message.created_at <= %(before)s
ORDER BY message.id
LIMIT 1
