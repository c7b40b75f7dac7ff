-- Purpose: read an optimization session with its provider and billing period.
-- Parameters: session_id.
-- Locks: none beyond reading.
-- Repeatable: reads only.
SELECT
    session.id,
    session.session_guid,
    session.service_provider_id,
    provider.name AS service_provider_name,
    session.billing_period_id,
    period.cycle_start,
    period.cycle_end,
    session.status,
    session.progress,
    session.error,
    session.opened_by,
    session.started_at,
    session.heartbeat_at,
    session.ended_at
FROM amop.optimization_session AS session
INNER JOIN amop.service_provider AS provider ON session.service_provider_id = provider.id
INNER JOIN amop.billing_period AS period ON session.billing_period_id = period.id
WHERE session.id = %(session_id)s
