-- Purpose: list the optimizations that were completed since a moment without all of the SIMs that were expected, with
--   the comm groups that have more rate plans than the provider's limit.
-- Parameters: since (timestamptz).
-- Locks: none beyond reading.
-- Repeatable: reads only.
SELECT
    instance.session_id,
    session.service_provider_id,
    provider.name AS provider,
    provider.time_zone,
    provider.rate_plan_limit,
    instance.device_count,
    instance.expected_device_count,
    instance.warning,
    instance.ended_at,
    exceeded.group_count AS groups_above_limit,
    exceeded.plan_count AS most_rate_plans
FROM amop.optimization_instance AS instance
INNER JOIN amop.optimization_session AS session ON instance.session_id = session.id
INNER JOIN amop.service_provider AS provider ON session.service_provider_id = provider.id
CROSS JOIN LATERAL (
    SELECT
        count(*) AS group_count,
        coalesce(max(cardinality(comm_group.rate_plan_ids)), 0) AS plan_count
    FROM amop.optimization_comm_group AS comm_group
    WHERE comm_group.instance_id = instance.id AND comm_group.outcome = 'limit_exceeded'
) AS exceeded
WHERE
    instance.run_status = 'complete_with_success' AND instance.ended_at > %(since)s
    AND (instance.device_count < instance.expected_device_count OR exceeded.group_count > 0)
ORDER BY instance.id
