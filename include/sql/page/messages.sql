-- Purpose: return a page of the messages to AMOP, sorted by a column, and the number of all that match.
-- Parameters: integrations (text[], names that the user may see), state (null = all), search (null = all; a part of the
--   provider's name), sort (identifier), descending (boolean), maximum, skipped.
-- Locks: none, reads only.
-- Repeatable: yes.
SELECT
    listed.*,
    count(*) OVER () AS matches
FROM (
    SELECT
        message.id,
        message.kind,
        (message.payload -> 'data' ->> 'Progress')::int AS progress,
        provider.name AS provider,
        message.session_id,
        message.state,
        message.attempts,
        message.created_at,
        message.sent_at,
        CASE WHEN message.state = 'pending' THEN message.next_attempt_at END AS next_attempt_at,
        message.last_error
    FROM amop.amop_outbox AS message
    LEFT JOIN amop.optimization_session AS session ON message.session_id = session.id
    INNER JOIN amop.service_provider AS provider
        ON coalesce(
            session.service_provider_id,
            CASE WHEN message.kind = 'daily_sync' THEN split_part(message.dedupe_key, ':', 3)::bigint END
        ) = provider.id
    INNER JOIN amop.integration AS integration ON provider.integration_id = integration.id
    WHERE
        integration.name = any(%(integrations)s::text[])
        AND (%(state)s::text IS NULL OR message.state = %(state)s)
        AND (%(search)s::text IS NULL OR position(lower(%(search)s) IN lower(provider.name)) > 0)
) AS listed
ORDER BY
    CASE WHEN %(descending)s THEN listed.{sort} END DESC NULLS LAST,
    CASE WHEN NOT %(descending)s THEN listed.{sort} END ASC NULLS LAST,
    listed.id ASC
LIMIT %(maximum)s OFFSET %(skipped)s
