-- Purpose: return the measured savings of closed billing periods, oldest first: a row for each optimization with
--   applied changes, or for the last one of the period if none had any. Where several had, the old plans of each are
--   usually the applied plans of the one before; the savings then add up to that of the period. Changes that waited
--   until the period had ended were not sent.
-- Parameters: integrations (text[], names that the user may see).
-- Locks: none, reads only.
-- Repeatable: yes.
SELECT
    ranked.session_id,
    ranked.service_provider_id,
    ranked.provider,
    ranked.currency,
    ranked.bill_year,
    ranked.bill_month,
    ranked.cycle_end,
    ranked.applied_changes,
    (
        SELECT count(*) FROM amop.rate_plan_change AS change
        WHERE
            change.instance_id = ranked.instance_id
            AND change.waits_reason IS NOT NULL
            AND change.state = 'rejected'
            AND change.decided_at >= ranked.cycle_end
    ) AS unsent_changes,
    ranked.forecast_saving,
    ranked.realised_saving,
    ranked.old_plans_cost,
    ranked.applied_plans_cost,
    ranked.is_within_interval,
    ranked.projection_error,
    ranked.weighted_error
FROM (
    SELECT
        measured.*,
        session.id AS session_id,
        provider.id AS service_provider_id,
        provider.name AS provider,
        provider.currency,
        period.bill_year,
        period.bill_month,
        period.cycle_end,
        row_number() OVER (
            PARTITION BY period.id ORDER BY measured.applied_changes = 0, measured.instance_id DESC
        ) AS instance_rank
    FROM amop.realised_saving AS measured
    INNER JOIN amop.optimization_instance AS instance ON measured.instance_id = instance.id
    INNER JOIN amop.optimization_session AS session ON instance.session_id = session.id
    INNER JOIN amop.service_provider AS provider ON session.service_provider_id = provider.id
    INNER JOIN amop.integration AS integration ON provider.integration_id = integration.id
    INNER JOIN amop.billing_period AS period ON session.billing_period_id = period.id
    WHERE integration.name = any(%(integrations)s::text[])
) AS ranked
WHERE ranked.applied_changes > 0 OR ranked.instance_rank = 1
ORDER BY ranked.cycle_end, ranked.provider, ranked.instance_id
