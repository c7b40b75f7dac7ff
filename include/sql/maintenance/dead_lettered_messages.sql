-- Purpose: list the latest messages that AMOP refused, newest first, each with the number of messages of its session
--   that were dead-lettered after it.
-- Parameters: none.
-- Locks: none beyond reading.
-- Repeatable: reads only.
SELECT
    message.dedupe_key,
    provider.name AS service_provider,
    message.created_at,
    message.attempts,
    message.last_error,
    (
        SELECT count(*) FROM amop.amop_outbox AS follower
        WHERE follower.session_id = message.session_id AND follower.state = 'dead' AND follower.id > message.id
    ) AS followers
FROM amop.amop_outbox AS message
LEFT JOIN amop.optimization_session AS session ON message.session_id = session.id
LEFT JOIN amop.service_provider AS provider ON session.service_provider_id = provider.id
WHERE
    message.state = 'dead'
    AND NOT EXISTS (
        SELECT 1 FROM amop.amop_outbox AS earlier
        WHERE earlier.session_id = message.session_id AND earlier.state = 'dead' AND earlier.id < message.id
    )
ORDER BY message.id DESC
LIMIT 20
