-- Purpose: find the provider that a queue message names, and the latest run that the existing system has opened for it.
-- Parameters: service_provider_id, dag_id (that of the runs that the existing system opens).
-- Locks: none beyond reading.
-- Repeatable: reads only.
SELECT
    integration.name AS integration,
    integration.supports_optimization,
    run.id AS run_id,
    run.status AS run_status,
    run.ended_at AS run_ended_at,
    run.billing_period_id,
    (SELECT message.message_id FROM amop.queue_message AS message WHERE message.run_id = run.id) AS started_by
FROM amop.service_provider AS provider
INNER JOIN amop.integration AS integration ON provider.integration_id = integration.id
LEFT JOIN
    LATERAL (
        SELECT
            known.id,
            known.status,
            known.ended_at,
            known.billing_period_id
        FROM amop.device_sync_run AS known
        WHERE known.service_provider_id = provider.id AND known.dag_id = %(dag_id)s
        ORDER BY known.id DESC
        LIMIT 1
    ) AS run ON true
WHERE provider.id = %(service_provider_id)s
