-- Purpose: count the messages to AMOP by state; return when the oldest pending message was created, and the last error
--   of the pending messages, else of the dead-lettered ones.
-- Parameters: none.
-- Locks: none beyond reading.
-- Repeatable: reads only.
SELECT
    count(*) FILTER (WHERE state = 'pending') AS pending,
    count(*) FILTER (WHERE state = 'dead') AS dead,
    count(*) FILTER (WHERE state = 'sent') AS sent,
    min(created_at) FILTER (WHERE state = 'pending') AS oldest_pending,
    (
        SELECT message.last_error FROM amop.amop_outbox AS message
        WHERE message.state IN ('pending', 'dead') AND message.last_error IS NOT NULL
        ORDER BY message.state DESC, message.id DESC
        LIMIT 1
    ) AS last_error
FROM amop.amop_outbox
