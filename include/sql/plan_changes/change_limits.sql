-- Purpose: return what limits a plan change at the moment of sending it: the SIM's earlier changes, by any party, in
--   the billing period of its instance, in this month (local to the provider) and the last of all, the limits of
--   provider and carrier, and when this change would count (a change to a plan of a lower monthly charge is a
--   downgrade; a SIM without a known plan gets its first one).
-- Parameters: change_id, now, monthly_limits (jsonb, plan changes that a carrier accepts in a month by API family).
-- Locks: none, reads only.
-- Repeatable: yes.
SELECT
    earlier.change_count,
    earlier.month_change_count,
    earlier.last_changed_at,
    provider.maximum_changes_per_sim,
    (%(monthly_limits)s::jsonb ->> integration.family)::integer AS maximum_changes_per_month,
    provider.minimum_days_on_plan,
    CASE
        WHEN present.id IS NULL OR target.id IS NULL THEN 'whole_cycle'
        WHEN target.rate_charge + target.base_rate < present.rate_charge + present.base_rate
            THEN provider.downgrade_effect
        ELSE provider.upgrade_effect
    END AS effect
FROM amop.rate_plan_change AS change
INNER JOIN amop.optimization_instance AS instance ON change.instance_id = instance.id
INNER JOIN amop.optimization_session AS session ON instance.session_id = session.id
INNER JOIN amop.service_provider AS provider ON session.service_provider_id = provider.id
INNER JOIN amop.integration AS integration ON provider.integration_id = integration.id
INNER JOIN amop.billing_period AS period ON session.billing_period_id = period.id
LEFT JOIN amop.carrier_rate_plan AS present
    ON provider.id = present.service_provider_id AND change.from_rate_plan = present.rate_plan_code
LEFT JOIN amop.carrier_rate_plan AS target
    ON provider.id = target.service_provider_id AND change.to_rate_plan = target.rate_plan_code
CROSS JOIN LATERAL (
    SELECT
        count(*) FILTER (WHERE made.changed_at >= period.cycle_start AND made.changed_at < period.cycle_end)
            AS change_count,
        count(*) FILTER (WHERE made.changed_at >= date_trunc('month', %(now)s::timestamptz, provider.time_zone))
            AS month_change_count,
        max(made.changed_at) AS last_changed_at
    FROM amop.device_plan_change AS made
    WHERE
        made.device_id = change.device_id
        AND (
            provider.maximum_changes_per_sim IS NOT NULL
            OR provider.minimum_days_on_plan > 0
            OR %(monthly_limits)s::jsonb ->> integration.family IS NOT NULL
        )
) AS earlier
WHERE change.id = %(change_id)s
