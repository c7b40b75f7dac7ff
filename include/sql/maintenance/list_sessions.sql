-- Purpose: list optimization sessions, newest first.
-- Parameters: session_id (or null = all), service_provider_id (or null = all), row_limit.
-- Locks: none beyond reading.
-- Repeatable: reads only.
SELECT
    session.id,
    session.session_guid,
    session.service_provider_id,
    provider.name AS service_provider,
    period.cycle_end AS billing_period_end,
    session.status,
    session.progress,
    session.opened_by,
    session.started_at,
    session.heartbeat_at,
    session.ended_at,
    (
        SELECT count(*) FROM amop.amop_outbox AS message
        WHERE message.session_id = session.id AND message.state <> 'sent'
    ) AS undelivered_messages,
    session.error,
    instance.changes_status,
    instance.changes_reason,
    instance.applied_plan_count,
    instance.change_in_doubt_count
FROM amop.optimization_session AS session
INNER JOIN amop.service_provider AS provider ON session.service_provider_id = provider.id
INNER JOIN amop.billing_period AS period ON session.billing_period_id = period.id
LEFT JOIN amop.optimization_instance AS instance ON session.id = instance.session_id
WHERE
    (%(session_id)s::bigint IS NULL OR session.id = %(session_id)s)
    AND (%(service_provider_id)s::bigint IS NULL OR session.service_provider_id = %(service_provider_id)s)
ORDER BY session.id DESC
LIMIT %(row_limit)s
