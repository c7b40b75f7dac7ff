-- Purpose: return how fast the latest plan changes of a provider were applied: the seconds between one outcome and the
--   next of the same instance, and their number. Intervals longer than a limit, or many times the usual one, are
--   interruptions, not pace.
-- Parameters: service_provider_id, since (timestamptz), longest_interval (interval), times_usual (number), maximum
--   (changes).
-- Locks: none, reads only.
-- Repeatable: yes.
WITH between_changes AS (
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
),

usual AS (
    SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY length) AS length
    FROM between_changes
)

SELECT
    count(*) AS interval_count,
    sum(extract(EPOCH FROM between_changes.length))::double precision AS seconds
FROM between_changes
CROSS JOIN usual
WHERE between_changes.length <= least(%(longest_interval)s, %(times_usual)s * usual.length)
