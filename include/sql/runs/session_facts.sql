-- Purpose: read the fields of a session's messages, apart from its progress.
-- Parameters: session_id.
-- Locks: none beyond reading.
-- Repeatable: reads only.
SELECT
    session.id AS session_id,
    session.session_guid::text AS session_guid,
    session.service_provider_id,
    provider.tenant_id,
    session.billing_period_id,
    period.cycle_start,
    period.cycle_end,
    coalesce(
        nullif(instance.device_count, 0),
        (
            SELECT count(*) FROM amop.device AS device
            WHERE device.service_provider_id = session.service_provider_id AND device.is_active
        )
    ) AS device_count
FROM amop.optimization_session AS session
INNER JOIN amop.service_provider AS provider ON session.service_provider_id = provider.id
INNER JOIN amop.billing_period AS period ON session.billing_period_id = period.id
LEFT JOIN amop.optimization_instance AS instance ON session.id = instance.session_id
WHERE session.id = %(session_id)s
