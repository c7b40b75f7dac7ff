-- Purpose: return what decides whether doubtful plan changes of an instance wait for a later one: the provider's
--   settings, the longest of its latest sessions from the start of the device sync to the results, and how many of the
--   changes are doubtful.
-- Parameters: instance_id, sessions (how many of the provider's latest complete sessions count).
-- Locks: none, reads only.
-- Repeatable: yes.
SELECT
    provider.doubtful_changes,
    provider.optimization_start_hour_local,
    latest.longest_session,
    counted.change_count,
    counted.doubtful_count
FROM amop.optimization_instance AS instance
INNER JOIN amop.optimization_session AS session ON instance.session_id = session.id
INNER JOIN amop.service_provider AS provider ON session.service_provider_id = provider.id
CROSS JOIN LATERAL (
    SELECT max(complete.ended_at - complete.started_at) AS longest_session
    FROM (
        SELECT
            ended.started_at,
            ended.ended_at
        FROM amop.optimization_session AS ended
        WHERE ended.service_provider_id = provider.id AND ended.status = 'complete'
        ORDER BY ended.id DESC
        LIMIT %(sessions)s
    ) AS complete
) AS latest
CROSS JOIN LATERAL (
    SELECT
        count(*) AS change_count,
        count(*) FILTER (WHERE change.is_doubtful) AS doubtful_count
    FROM amop.rate_plan_change AS change
    WHERE change.instance_id = instance.id AND change.state = 'proposed'
) AS counted
WHERE instance.id = %(instance_id)s
