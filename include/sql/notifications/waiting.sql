-- Purpose: count the notifications that could not be sent yet, or at all, with the latest error.
-- Parameters: none.
-- Locks: none beyond reading.
-- Repeatable: reads only.
SELECT
    count(*) FILTER (WHERE state = 'pending') AS pending,
    count(*) FILTER (WHERE state = 'failed') AS failed,
    (array_agg(last_error ORDER BY id DESC) FILTER (WHERE last_error IS NOT NULL))[1] AS last_error
FROM amop.notification
WHERE state IN ('pending', 'failed')
