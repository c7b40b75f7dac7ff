-- Purpose: list the optimizations whose plan changes ended since a moment with conflicts or failures at the carrier.
-- Parameters: since (timestamptz).
-- Locks: none beyond reading.
-- Repeatable: reads only.
SELECT
    instance.id AS instance_id,
    instance.session_id,
    provider.name AS provider,
    ended.conflict_count,
    ended.failure_count,
    ended.error
FROM amop.optimization_instance AS instance
INNER JOIN amop.optimization_session AS session ON instance.session_id = session.id
INNER JOIN amop.service_provider AS provider ON session.service_provider_id = provider.id
CROSS JOIN LATERAL (
    SELECT
        count(*) FILTER (WHERE change.state = 'conflict') AS conflict_count,
        count(*) FILTER (WHERE change.state = 'failed') AS failure_count,
        min(change.error) AS error
    FROM amop.rate_plan_change AS change
    WHERE change.instance_id = instance.id AND change.state IN ('conflict', 'failed')
) AS ended
WHERE
    instance.changes_status IN ('applied', 'stopped') AND instance.changes_decided_at > %(since)s
    AND ended.conflict_count + ended.failure_count > 0
ORDER BY instance.id
