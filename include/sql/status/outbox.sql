-- Purpose: messages to AMOP by state, and since when the oldest one waits.
-- Parameters: none.
-- Locks: none beyond reading.
-- Repeatable: reads only.
SELECT
    count(*) FILTER (WHERE state = 'pending') AS pending,
    count(*) FILTER (WHERE state = 'dead') AS dead,
    count(*) FILTER (WHERE state = 'sent') AS sent,
    min(created_at) FILTER (WHERE state = 'pending') AS oldest_pending
FROM amop.amop_outbox
