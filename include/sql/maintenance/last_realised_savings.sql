-- Purpose: read the savings of the last measured billing period of every provider: a row for each optimization with
--   applied changes, or for the last one if none had any. Where several had, the old plans of each are usually the
--   applied plans of the one before; the savings then add up to that of the period.
-- Parameters: none.
-- Locks: none beyond reading.
-- Repeatable: reads only.
SELECT
    ranked.service_provider_id,
    ranked.service_provider,
    ranked.instance_id,
    ranked.billing_period_end,
    ranked.applied_changes,
    (
        SELECT count(*) FROM amop.rate_plan_change AS change
        WHERE
            change.instance_id = ranked.instance_id
            AND change.waits_reason IS NOT NULL
            AND change.state = 'rejected'
            AND change.decided_at >= ranked.billing_period_end
    ) AS unsent_changes,
    ranked.currency,
    ranked.forecast_saving,
    ranked.realised_saving,
    round(ranked.realised_saving / nullif(ranked.old_plans_cost, 0) * 100, 2) AS realised_percent,
    round(ranked.projection_error * 100, 2) AS projection_error_percent,
    round(ranked.weighted_error * 100, 2) AS weighted_error_percent,
    ranked.usage_read_at
FROM (
    SELECT
        measured.*,
        provider.id AS service_provider_id,
        provider.name AS service_provider,
        provider.currency,
        period.cycle_end AS billing_period_end,
        rank() OVER (PARTITION BY provider.id ORDER BY period.cycle_end DESC) AS period_rank,
        row_number() OVER (
            PARTITION BY provider.id, period.id ORDER BY measured.applied_changes = 0, measured.instance_id DESC
        ) AS instance_rank
    FROM amop.realised_saving AS measured
    INNER JOIN amop.optimization_instance AS instance ON measured.instance_id = instance.id
    INNER JOIN amop.optimization_session AS session ON instance.session_id = session.id
    INNER JOIN amop.service_provider AS provider ON session.service_provider_id = provider.id
    INNER JOIN amop.billing_period AS period ON session.billing_period_id = period.id
) AS ranked
WHERE ranked.period_rank = 1 AND (ranked.applied_changes > 0 OR ranked.instance_rank = 1)
ORDER BY ranked.service_provider_id, ranked.instance_id
