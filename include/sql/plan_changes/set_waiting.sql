-- Purpose: decide which proposed plan changes of an instance wait for a later one: the doubtful ones, or those of them
--   whose SIM's plan could not be changed again until then by the limits of provider and carrier.
-- Parameters: instance_id, reason (null = none waits), only_limited (boolean), last_decision_at (of the later one),
--   now, monthly_limits (jsonb, plan changes that a carrier accepts in a month by API family).
-- Locks: the rows.
-- Repeatable: yes; changes that were decided stay as they are.
WITH doubtful AS (
    SELECT
        proposed.id,
        CASE
            WHEN
                NOT %(only_limited)s
                OR limited.change_count + 1 >= provider.maximum_changes_per_sim
                OR limited.month_change_count + 1 >= (%(monthly_limits)s::jsonb ->> integration.family)::integer
                OR %(now)s::timestamptz + make_interval(days => provider.minimum_days_on_plan)
                > %(last_decision_at)s::timestamptz
                THEN %(reason)s::text
        END AS waits_reason
    FROM amop.rate_plan_change AS proposed
    INNER JOIN amop.optimization_instance AS instance ON proposed.instance_id = instance.id
    INNER JOIN amop.optimization_session AS session ON instance.session_id = session.id
    INNER JOIN amop.service_provider AS provider ON session.service_provider_id = provider.id
    INNER JOIN amop.integration AS integration ON provider.integration_id = integration.id
    INNER JOIN amop.billing_period AS period ON session.billing_period_id = period.id
    CROSS JOIN LATERAL (
        SELECT
            count(*) FILTER (WHERE made.changed_at >= period.cycle_start AND made.changed_at < period.cycle_end)
                AS change_count,
            count(*) FILTER (WHERE made.changed_at >= date_trunc('month', %(now)s::timestamptz, provider.time_zone))
                AS month_change_count
        FROM amop.device_plan_change AS made
        WHERE
            made.device_id = proposed.device_id
            AND (
                provider.maximum_changes_per_sim IS NOT NULL
                OR %(monthly_limits)s::jsonb ->> integration.family IS NOT NULL
            )
    ) AS limited
    WHERE proposed.instance_id = %(instance_id)s AND proposed.state = 'proposed' AND proposed.is_doubtful
)

UPDATE amop.rate_plan_change AS change
SET waits_reason = doubtful.waits_reason
FROM doubtful
WHERE change.id = doubtful.id AND change.waits_reason IS DISTINCT FROM doubtful.waits_reason
