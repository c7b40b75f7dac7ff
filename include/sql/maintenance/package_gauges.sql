-- Purpose: return the figures of the outbox, the carriers and the notifications that are exported as gauges.
-- Parameters: now (timestamptz).
-- Locks: none, reads only.
-- Repeatable: yes.
SELECT
    messages.pending::float8 AS outbox_pending,
    messages.dead::float8 AS outbox_dead,
    coalesce(extract(EPOCH FROM %(now)s::timestamptz - messages.oldest), 0)::float8 AS outbox_age_seconds,
    carriers.failing::float8 AS carriers_failing,
    coalesce(extract(EPOCH FROM %(now)s::timestamptz - carriers.since), 0)::float8 AS carrier_outage_seconds,
    (SELECT count(*) FROM amop.notification AS waiting WHERE waiting.state = 'pending')::float8
        AS notifications_pending,
    (SELECT count(*) FROM amop.optimization_session AS session WHERE session.status = 'running')::float8
        AS sessions_running
FROM (
    SELECT
        count(*) FILTER (WHERE state = 'pending') AS pending,
        count(*) FILTER (WHERE state = 'dead') AS dead,
        min(created_at) FILTER (WHERE state = 'pending') AS oldest
    FROM amop.amop_outbox
    WHERE state IN ('pending', 'dead')
) AS messages
CROSS JOIN (
    SELECT
        count(*) AS failing,
        min(failing_since) AS since
    FROM amop.carrier_api_user
    WHERE failing_since IS NOT NULL
) AS carriers
