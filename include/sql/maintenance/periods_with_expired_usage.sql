-- Purpose: list the billing periods that closed before a moment and still have daily usage. The usage of a period is
--   deleted as a whole, so that the sum of its days stays correct until then. A period with a running session or with
--   undecided or unsent plan changes is kept.
-- Parameters: before.
-- Locks: none beyond reading.
-- Repeatable: reads only.
SELECT
    period.id,
    period.service_provider_id,
    period.bill_year,
    period.bill_month
FROM amop.billing_period AS period
WHERE
    period.cycle_end < %(before)s
    AND period.usage_removed_at IS NULL
    AND NOT EXISTS (
        SELECT 1 FROM amop.optimization_session AS session
        WHERE
            session.billing_period_id = period.id
            AND (
                session.status = 'running'
                OR EXISTS (
                    SELECT 1 FROM amop.optimization_instance AS instance
                    INNER JOIN amop.rate_plan_change AS change ON instance.id = change.instance_id
                    WHERE instance.session_id = session.id AND change.state IN ('proposed', 'approved')
                )
            )
    )
ORDER BY period.id
