-- Purpose: count the pending messages; return when the oldest one was created and the error of the latest failed
--   attempt.
-- Parameters: session_id (bigint or null = all), dedupe_key (text or null = all).
-- Locks: none beyond reading.
-- Repeatable: reads only.
SELECT
    count(*) AS pending,
    min(created_at) AS oldest_pending_at,
    (array_agg(last_error ORDER BY next_attempt_at DESC) FILTER (WHERE last_error IS NOT NULL))[1] AS last_error
FROM amop.amop_outbox
WHERE
    state = 'pending'
    AND (%(session_id)s::bigint IS NULL OR session_id = %(session_id)s)
    AND (%(dedupe_key)s::text IS NULL OR dedupe_key = %(dedupe_key)s)
