-- Purpose: reject the plan changes that still wait for a later optimization although their billing period has closed,
--   and say so in the reason of their instance: it has said that they wait. Return the instances.
-- Parameters: reason (text, follows the words "each of 2 changes"), decided_by, now.
-- Locks: the changes' rows and those of their instances.
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
    RETURNING change.instance_id, change.waits_reason
),

counted AS (
    SELECT
        ended.instance_id,
        count(*) AS change_count,
        max(ended.waits_reason) AS waits_reason
    FROM ended
    GROUP BY ended.instance_id
)

UPDATE amop.optimization_instance AS instance
SET
    changes_status = CASE instance.changes_status WHEN 'proposed_only' THEN 'no_go' ELSE instance.changes_status END,
    changes_reason = regexp_replace(
        regexp_replace(
            replace(instance.changes_reason, counted.waits_reason, %(reason)s), '^only proposed: ', 'no go: '
        ),
        ' waiting$',
        ' not sent before the billing period ended'
    )
FROM counted
INNER JOIN amop.optimization_instance AS known ON counted.instance_id = known.id
INNER JOIN amop.optimization_session AS session ON known.session_id = session.id
INNER JOIN amop.service_provider AS provider ON session.service_provider_id = provider.id
WHERE instance.id = counted.instance_id
RETURNING counted.instance_id, provider.name AS service_provider_name, counted.change_count
