-- Purpose: open an optimization session; no row is returned if one is running or the same opener has one.
-- Parameters: service_provider_id, billing_period_id, opened_by, now (timestamptz or null = the database's clock).
-- Locks: the new row; waits for a session that another transaction is opening or ending.
-- Repeatable: the unique indexes on the running session and on the opener admit one row.
INSERT INTO amop.optimization_session (
    service_provider_id, billing_period_id, opened_by, started_at, heartbeat_at
)
VALUES (
    %(service_provider_id)s, %(billing_period_id)s, %(opened_by)s,
    coalesce(%(now)s::timestamptz, now()), coalesce(%(now)s::timestamptz, now())
)
ON CONFLICT DO NOTHING
RETURNING id
