-- Purpose: return the active providers with their current billing period, last complete sync, latest run, latest
--   session, open approval, approved plan changes that were not sent, latest complete optimization of the period,
--   pools heading over their allowance, start of an outage of its API user, open quarantined records and undelivered
--   messages. An API user belongs to the connection as which it failed last; once a later sync is complete, the
--   provider uses another one. An approval stays open while the provider is optimized again, until that has completed.
--   Numbers of SIMs and the usage of the cycle are those of the summary of the last complete sync, so that no SIM is
--   read here. The usual usage is that of the sync of the previous billing period at about the same time of its cycle.
-- Parameters: integrations (text[], names that the user may see), now (timestamptz).
-- Locks: none, reads only.
-- Repeatable: yes.
WITH quarantined AS (
    SELECT
        run.service_provider_id,
        count(*) AS record_count
    FROM amop.device_quarantine AS rejected
    INNER JOIN amop.device_sync_run AS run ON rejected.run_id = run.id
    WHERE rejected.resolved_at IS NULL
    GROUP BY run.service_provider_id
),

undelivered AS (
    SELECT
        session.service_provider_id,
        count(*) FILTER (WHERE message.state = 'pending') AS pending,
        count(*) FILTER (WHERE message.state = 'dead') AS dead
    FROM amop.amop_outbox AS message
    INNER JOIN amop.optimization_session AS session ON message.session_id = session.id
    WHERE message.state IN ('pending', 'dead')
    GROUP BY session.service_provider_id
)

SELECT
    provider.id,
    provider.name,
    provider.currency,
    provider.time_zone,
    tenant.name AS tenant,
    integration.name AS integration,
    period.cycle_start,
    period.cycle_end,
    complete.ended_at AS synced_at,
    complete.is_current AS sync_is_of_period,
    complete.device_count,
    complete.data_usage,
    complete.usage_as_of,
    usual.data_usage AS usual_usage,
    usual.elapsed AS usual_elapsed,
    latest.id AS run_id,
    latest.dag_id AS run_dag_id,
    latest.dag_run_id AS run_dag_run_id,
    latest.status AS run_status,
    latest.started_at AS run_started_at,
    latest.ended_at AS run_ended_at,
    latest.error AS run_error,
    coalesce(latest.dag_run_deleted_at >= latest.ended_at, false) AS run_is_deleted,
    coalesce(cardinality(latest.warnings), 0) AS run_warnings,
    latest.pages AS run_pages,
    CASE WHEN latest.status = 'running' THEN (
        SELECT count(*) FROM amop.device_usage_to_process AS work
        WHERE work.run_id = latest.id
    ) END AS rows_left,
    session.id AS session_id,
    session.status AS session_status,
    session.progress AS session_progress,
    session.started_at AS session_started_at,
    session.heartbeat_at AS session_heartbeat_at,
    session.error AS session_error,
    session.dag_run_deleted_at IS NOT NULL AS session_is_deleted,
    coalesce(session.sync_has_failed AND complete.ended_at > session.ended_at, false) AS session_sync_is_redone,
    approval.session_id AS approval_session_id,
    approval.is_deleted AS approval_is_deleted,
    approval.is_lost AS approval_is_lost,
    approval.change_count AS approval_changes,
    approval.savings AS approval_savings,
    unsent.session_id AS unsent_session_id,
    unsent.is_stopped AS unsent_is_stopped,
    unsent.reason AS unsent_reason,
    unsent.is_deleted AS unsent_is_deleted,
    unsent.is_lost AS unsent_is_lost,
    unsent.change_count AS unsent_changes,
    unsent.since AS unsent_since,
    unsent.applied_count AS unsent_applied,
    unsent.whole_count AS unsent_whole,
    unsent.reached_saving AS unsent_reached_saving,
    unsent.savings AS unsent_saving,
    forecast.session_id AS forecast_session_id,
    CASE WHEN forecast.changes_status = 'applied' THEN forecast.total_cost ELSE forecast.current_cost END
        AS forecast_bill,
    forecast.total_cost AS optimized_bill,
    forecast.change_cap,
    forecast.uncapped_changes,
    forecast.uncapped_saving,
    outage.failing_since,
    coalesce(pools.pool_count, 0) AS pools_over,
    pools.amount AS pools_over_amount,
    coalesce(quarantined.record_count, 0) AS quarantined,
    coalesce(undelivered.pending, 0) AS pending_messages,
    coalesce(undelivered.dead, 0) AS dead_messages
FROM amop.service_provider AS provider
INNER JOIN amop.tenant AS tenant ON provider.tenant_id = tenant.id
INNER JOIN amop.integration AS integration ON provider.integration_id = integration.id
LEFT JOIN amop.billing_period AS period
    ON provider.id = period.service_provider_id AND period.cycle_start <= %(now)s AND period.cycle_end > %(now)s
LEFT JOIN LATERAL (
    SELECT run.*
    FROM amop.device_sync_run AS run
    WHERE
        run.service_provider_id = provider.id AND run.replayed_run_id IS NULL
        -- A trial of one task (`airflow tasks test`) says nothing about the provider.
        AND NOT starts_with(run.dag_run_id, '__airflow_temporary_run_')
    ORDER BY run.started_at DESC, run.id DESC
    LIMIT 1
) AS latest ON true
LEFT JOIN LATERAL (
    SELECT
        run.started_at,
        run.ended_at,
        run.usage_as_of,
        run.usage_as_of - synced_period.cycle_start AS elapsed,
        synced_period.cycle_start,
        run.billing_period_id = period.id AS is_current,
        (run.summary ->> 'device_count')::bigint AS device_count,
        (run.summary ->> 'cycle_data_usage')::numeric AS data_usage
    FROM amop.device_sync_run AS run
    INNER JOIN amop.billing_period AS synced_period ON run.billing_period_id = synced_period.id -- noqa: ST09, it is
    WHERE run.service_provider_id = provider.id AND run.status = 'complete' AND run.replayed_run_id IS NULL
    ORDER BY run.started_at DESC, run.id DESC
    LIMIT 1
) AS complete ON true
LEFT JOIN LATERAL (
    SELECT
        (run.summary ->> 'cycle_data_usage')::numeric AS data_usage,
        run.usage_as_of - before.cycle_start AS elapsed
    FROM amop.billing_period AS before
    INNER JOIN amop.device_sync_run AS run ON before.id = run.billing_period_id
    WHERE
        before.service_provider_id = provider.id
        AND run.service_provider_id = provider.id
        AND before.cycle_end = complete.cycle_start
        AND run.status = 'complete' AND run.replayed_run_id IS NULL
        AND run.started_at >= before.cycle_start
        AND run.summary ? 'cycle_data_usage'
        AND run.usage_as_of - before.cycle_start >= interval '1 day'
    ORDER BY abs(extract(EPOCH FROM run.usage_as_of - before.cycle_start - complete.elapsed)), run.id
    LIMIT 1
) AS usual ON true
LEFT JOIN LATERAL (
    SELECT
        opened.*,
        opened.status = 'failed'
        AND NOT EXISTS (
            SELECT FROM amop.optimization_instance AS instance
            WHERE instance.session_id = opened.id
        )
        AND EXISTS (
            SELECT FROM amop.device_sync_run AS run
            WHERE run.optimization_session_id = opened.id AND run.status IN ('failed', 'refused')
        ) AS sync_has_failed
    FROM amop.optimization_session AS opened
    WHERE opened.service_provider_id = provider.id
    ORDER BY opened.id DESC
    LIMIT 1
) AS session ON true
LEFT JOIN LATERAL (
    SELECT
        asked.id AS session_id,
        asked.dag_run_deleted_at IS NOT NULL AS is_deleted,
        asked.approval_lost_at IS NOT NULL AS is_lost,
        CASE
            WHEN waiting.change_count > 0 THEN coalesce(amop.saving_of_changes(instance.id, 'any'), instance.savings)
            ELSE instance.savings
        END AS savings,
        (
            SELECT count(*) FROM amop.rate_plan_change AS change
            WHERE change.instance_id = instance.id AND change.state = 'proposed'
        ) - waiting.change_count AS change_count
    FROM amop.optimization_session AS asked
    INNER JOIN amop.optimization_instance AS instance ON asked.id = instance.session_id
    CROSS JOIN LATERAL (
        SELECT count(*) AS change_count FROM amop.rate_plan_change AS change
        WHERE change.instance_id = instance.id AND change.state = 'proposed' AND change.waits_reason IS NOT NULL
    ) AS waiting
    WHERE
        asked.service_provider_id = provider.id
        AND instance.changes_status = 'waiting'
        AND amop.newer_instance(instance.id) IS NULL
    ORDER BY asked.id DESC
    LIMIT 1
) AS approval ON true
LEFT JOIN LATERAL (
    SELECT
        optimized.id AS session_id,
        instance.changes_status = 'stopped' AS is_stopped,
        instance.changes_reason AS reason,
        optimized.dag_run_deleted_at IS NOT NULL AS is_deleted,
        optimized.applying_lost_at IS NOT NULL AS is_lost,
        counted.change_count,
        counted.applied_count,
        counted.whole_count,
        instance.savings,
        amop.applied_saving(instance.id) AS reached_saving,
        greatest(instance.changes_decided_at, counted.touched_at) AS since
    FROM amop.optimization_session AS optimized
    INNER JOIN amop.optimization_instance AS instance ON optimized.id = instance.session_id
    CROSS JOIN LATERAL (
        SELECT
            count(*) FILTER (WHERE change.state = 'approved') AS change_count,
            count(*) FILTER (WHERE change.state = 'applied') AS applied_count,
            count(*) AS whole_count,
            max(greatest(change.sent_at, change.applied_at)) AS touched_at
        FROM amop.rate_plan_change AS change
        WHERE change.instance_id = instance.id
    ) AS counted
    WHERE
        optimized.billing_period_id = period.id
        AND instance.changes_status IN ('approved', 'stopped')
        AND amop.newer_instance(instance.id) IS NULL
        AND counted.change_count > 0
    ORDER BY optimized.id DESC
    LIMIT 1
) AS unsent ON true
LEFT JOIN LATERAL (
    SELECT
        optimized.id AS session_id,
        instance.changes_status,
        instance.current_cost,
        instance.total_cost,
        (instance.certificate #>> '{changes,most}')::int AS change_cap,
        instance.uncapped_change_count - (instance.certificate #>> '{changes,count}')::int AS uncapped_changes,
        instance.total_cost - instance.uncapped_cost AS uncapped_saving
    FROM amop.optimization_session AS optimized
    INNER JOIN amop.optimization_instance AS instance ON optimized.id = instance.session_id
    WHERE
        optimized.service_provider_id = provider.id
        AND optimized.billing_period_id = period.id
        AND instance.run_status = 'complete_with_success'
    ORDER BY optimized.id DESC
    LIMIT 1
) AS forecast ON true
LEFT JOIN LATERAL (
    SELECT min(api_user.failing_since) AS failing_since
    FROM amop.carrier_api_user AS api_user
    WHERE
        api_user.failing_since IS NOT NULL
        AND right(api_user.account, length(provider.connection_id) + 14)
        = ' (connection ' || provider.connection_id || ')'
        AND coalesce(complete.started_at <= api_user.recent_calls[cardinality(api_user.recent_calls)], true)
) AS outage ON true
LEFT JOIN LATERAL (
    SELECT
        count(*) AS pool_count,
        sum(finding.amount) AS amount
    FROM amop.finding AS finding
    WHERE
        finding.service_provider_id = provider.id
        AND finding.kind = 'pool_over'
        AND finding.occurrence = period.id::text
        AND finding.dismissed_at IS NULL
) AS pools ON true
LEFT JOIN quarantined ON provider.id = quarantined.service_provider_id
LEFT JOIN undelivered ON provider.id = undelivered.service_provider_id
WHERE provider.is_active AND integration.name = any(%(integrations)s::text[])
ORDER BY provider.name, provider.id
