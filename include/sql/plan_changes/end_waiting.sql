-- Purpose: reject the plan changes that still wait for a later optimization although their billing period has closed.
--   Return their instances, with the decision on the other changes.
-- Parameters: reason, decided_by, now.
-- Locks: the changes' rows.
-- Repeatable: yes; a change that was ended is not found again.
WITH ended AS (
    UPDATE amop.rate_plan_change AS change
    SET state = 'rejected', error = %(reason)s, decided_by = %(decided_by)s, decided_at = %(now)s
    FROM amop.optimization_instance AS instance
    INNER JOIN amop.optimization_session AS session ON instance.session_id = session.id
    INNER JOIN amop.billing_period AS period ON session.billing_period_id = period.id
    WHERE
        change.instance_id = instance.id
        AND change.state = 'proposed'
        AND change.waits_reason IS NOT NULL
        AND period.cycle_end <= %(now)s
    RETURNING change.instance_id
),

counted AS (
    SELECT
        ended.instance_id,
        count(*) AS change_count
    FROM ended
    GROUP BY ended.instance_id
)

SELECT
    counted.instance_id,
    provider.name AS service_provider_name,
    counted.change_count,
    instance.changes_status,
    coalesce(instance.changes_decision, instance.changes_reason, '') AS decision,
    (
        SELECT count(*) FROM amop.rate_plan_change AS other
        WHERE other.instance_id = instance.id AND other.state = 'proposed' AND other.waits_reason IS NULL
    ) > 0 AS has_proposed
FROM counted
INNER JOIN amop.optimization_instance AS instance ON counted.instance_id = instance.id
INNER JOIN amop.optimization_session AS session ON instance.session_id = session.id
INNER JOIN amop.service_provider AS provider ON session.service_provider_id = provider.id
ORDER BY counted.instance_id
