-- Purpose: read the latest optimization of every provider with its costs, its gap and the states of its plan changes.
-- Parameters: none.
-- Locks: none beyond reading.
-- Repeatable: reads only.
SELECT
    provider.id AS service_provider_id,
    provider.name AS service_provider,
    latest.id AS instance_id,
    latest.cycle_end AS billing_period_end,
    latest.run_status,
    latest.device_count,
    provider.currency,
    latest.current_cost,
    latest.total_cost,
    latest.savings AS forecast_savings,
    round(latest.savings / nullif(latest.current_cost, 0) * 100, 2) AS savings_percent,
    round(latest.gap * 100, 6) AS gap_percent,
    changes.proposed,
    changes.approved,
    changes.rejected,
    changes.applied,
    changes.conflict,
    changes.failed,
    latest.changes_status,
    latest.changes_reason,
    latest.changes_decided_by,
    latest.error
FROM amop.service_provider AS provider
CROSS JOIN LATERAL (
    SELECT
        instance.*,
        period.cycle_end
    FROM amop.optimization_instance AS instance
    INNER JOIN amop.optimization_session AS session ON instance.session_id = session.id
    INNER JOIN amop.billing_period AS period ON session.billing_period_id = period.id
    WHERE session.service_provider_id = provider.id
    ORDER BY instance.id DESC
    LIMIT 1
) AS latest
CROSS JOIN LATERAL (
    SELECT
        count(*) FILTER (WHERE change.state = 'proposed') AS proposed,
        count(*) FILTER (WHERE change.state = 'approved') AS approved,
        count(*) FILTER (WHERE change.state = 'rejected') AS rejected,
        count(*) FILTER (WHERE change.state = 'applied') AS applied,
        count(*) FILTER (WHERE change.state = 'conflict') AS conflict,
        count(*) FILTER (WHERE change.state = 'failed') AS failed
    FROM amop.rate_plan_change AS change
    WHERE change.instance_id = latest.id
) AS changes
ORDER BY provider.id
