-- Purpose: count the messages to AMOP by state; return when the oldest pending message was created.
-- Parameters: none.
-- Locks: none beyond reading.
-- Repeatable: reads only.
SELECT
    count(*) FILTER (WHERE state = 'pending') AS pending,
    count(*) FILTER (WHERE state = 'dead') AS dead,
    count(*) FILTER (WHERE state = 'sent') AS sent,
    min(created_at) FILTER (WHERE state = 'pending') AS oldest_pending
FROM amop.amop_outbox
