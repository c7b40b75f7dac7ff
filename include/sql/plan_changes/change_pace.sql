-- Purpose: return how fast the latest plan changes of a provider were applied: the seconds between one outcome and the
--   next of the same instance, and their number. Longer intervals than a limit are interruptions, not pace.
-- Parameters: service_provider_id, since (timestamptz), longest_interval (interval), maximum (changes).
-- Locks: none, reads only.
-- Repeatable: yes.
SELECT
    count(*) AS interval_count,
    sum(extract(EPOCH FROM between_changes.length))::double precision AS seconds
FROM (
    SELECT applied.applied_at - lag(applied.applied_at) OVER of_instance AS length
    FROM (
        SELECT
            change.id,
            change.instance_id,
            change.applied_at
        FROM amop.optimization_session AS session
        INNER JOIN amop.optimization_instance AS instance ON session.id = instance.session_id
        INNER JOIN amop.rate_plan_change AS change ON instance.id = change.instance_id
        WHERE
            session.service_provider_id = %(service_provider_id)s
            AND session.started_at >= %(since)s
            AND change.state = 'applied'
            AND change.sent_at IS NOT NULL
        ORDER BY change.applied_at DESC, change.id DESC
        LIMIT %(maximum)s
    ) AS applied
    WINDOW of_instance AS (PARTITION BY applied.instance_id ORDER BY applied.applied_at, applied.id)
) AS between_changes
WHERE between_changes.length <= %(longest_interval)s
