-- Purpose: return the figures of every active provider that are exported as gauges. Numbers of SIMs are those of the
--   summary of the last complete sync, so that no SIM is read. Amounts are those of the last complete optimization of
--   the current billing period; the realised saving is that of the last measured one.
-- Parameters: now (timestamptz), calls_a_day (bigint).
-- Locks: none, reads only.
-- Repeatable: yes.
SELECT
    provider.id AS service_provider_id,
    provider.name AS provider,
    integration.name AS integration,
    extract(EPOCH FROM %(now)s::timestamptz - complete.ended_at)::float8 AS sync_age_seconds,
    (complete.summary ->> 'device_count')::float8 AS sims,
    (complete.summary ->> 'usage_unconfirmed_count')::float8 AS unconfirmed_sims,
    (
        SELECT count(*) FROM amop.device_usage_to_process AS work
        INNER JOIN amop.device_sync_run AS run ON work.run_id = run.id
        WHERE run.service_provider_id = provider.id AND run.status = 'running'
    )::float8 AS work_rows_left,
    (
        SELECT count(*) FROM amop.device_quarantine AS rejected
        INNER JOIN amop.device_sync_run AS run ON rejected.run_id = run.id
        WHERE run.service_provider_id = provider.id AND rejected.resolved_at IS NULL
    )::float8 AS quarantined_records,
    (
        %(calls_a_day)s::bigint - coalesce((
            SELECT sum(run.pages) FROM amop.device_sync_run AS run
            WHERE
                run.service_provider_id = provider.id AND run.replayed_run_id IS NULL
                AND run.started_at >= date_trunc('day', %(now)s::timestamptz, 'UTC')
        ), 0)
    )::float8 AS calls_left_today,
    optimized.current_cost::float8 AS forecast_bill,
    optimized.total_cost::float8 AS optimized_bill,
    optimized.savings::float8 AS forecast_saving,
    optimized.waiting::float8 AS plan_changes_waiting,
    optimized.pool_fill::float8 AS pool_fill_percent,
    (
        SELECT sum(measured.realised_saving)
        FROM amop.realised_saving AS measured
        INNER JOIN amop.optimization_instance AS instance ON measured.instance_id = instance.id
        INNER JOIN amop.optimization_session AS session ON instance.session_id = session.id
        WHERE
            session.service_provider_id = provider.id
            AND measured.applied_changes > 0
            AND session.billing_period_id = (
                SELECT last_session.billing_period_id
                FROM amop.realised_saving AS last_measured
                INNER JOIN amop.optimization_instance AS last_instance
                    ON last_measured.instance_id = last_instance.id
                INNER JOIN amop.optimization_session AS last_session ON last_instance.session_id = last_session.id
                INNER JOIN amop.billing_period AS last_period ON last_session.billing_period_id = last_period.id
                WHERE last_session.service_provider_id = provider.id
                ORDER BY last_period.cycle_end DESC
                LIMIT 1
            )
    )::float8 AS realised_saving
FROM amop.service_provider AS provider
INNER JOIN amop.integration AS integration ON provider.integration_id = integration.id
LEFT JOIN LATERAL (
    SELECT
        run.ended_at,
        run.summary
    FROM amop.device_sync_run AS run
    WHERE run.service_provider_id = provider.id AND run.status = 'complete' AND run.replayed_run_id IS NULL
    ORDER BY run.started_at DESC, run.id DESC
    LIMIT 1
) AS complete ON true
LEFT JOIN LATERAL (
    SELECT
        instance.current_cost,
        instance.total_cost,
        instance.savings,
        CASE WHEN instance.changes_status = 'waiting' THEN (
            SELECT count(*) FROM amop.rate_plan_change AS change
            WHERE change.instance_id = instance.id AND change.state = 'proposed' AND change.waits_reason IS NULL
        ) ELSE 0 END AS waiting,
        (
            SELECT max(pool.usage_mb / nullif(pool.included_mb, 0)) * 100
            FROM amop.optimization_pool_result AS pool
            WHERE pool.instance_id = instance.id AND pool.assignment = 'current'
        ) AS pool_fill
    FROM amop.optimization_session AS session
    INNER JOIN amop.optimization_instance AS instance ON session.id = instance.session_id
    INNER JOIN amop.billing_period AS period ON session.billing_period_id = period.id
    WHERE
        session.service_provider_id = provider.id AND instance.run_status = 'complete_with_success'
        AND period.cycle_start <= %(now)s AND period.cycle_end > %(now)s
    ORDER BY session.id DESC
    LIMIT 1
) AS optimized ON true
WHERE provider.is_active
ORDER BY provider.id
