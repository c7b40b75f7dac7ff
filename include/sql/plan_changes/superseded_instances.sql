-- Purpose: return the older instances whose open plan changes a newer one of the same provider has superseded, and what
--   was decided on them.
-- Parameters: instance_id (the newer, completed one).
-- Locks: the rows found, until the transaction ends, so that no two planners take the same ones.
-- Repeatable: yes; an instance without open changes is not found again.
SELECT
    older.id,
    older.changes_status,
    coalesce(older.changes_decision, older.changes_reason, '') AS decision
FROM amop.optimization_instance AS newer
INNER JOIN amop.optimization_session AS newer_session ON newer.session_id = newer_session.id
INNER JOIN amop.optimization_session AS older_session
    ON newer_session.service_provider_id = older_session.service_provider_id
INNER JOIN amop.optimization_instance AS older ON older_session.id = older.session_id
WHERE
    newer.id = %(instance_id)s
    AND older.id < newer.id
    AND amop.newer_instance(older.id) >= newer.id
    AND EXISTS (
        SELECT FROM amop.rate_plan_change AS change
        WHERE change.instance_id = older.id AND change.state IN ('proposed', 'approved') AND change.sent_at IS NULL
    )
ORDER BY older.id
FOR UPDATE OF older
