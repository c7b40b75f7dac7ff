-- Purpose: return the figures of the device sync summary.
-- Parameters: run_id, known_statuses (text[]).
-- Locks: none beyond reading.
-- Repeatable: reads only.
SELECT
    run.usage_as_of AS detail_last_sync_date,
    run.devices_seen AS detail_queue_count,
    run.devices_inserted + run.devices_updated AS detail_updated_count,
    run.devices_inserted,
    run.devices_updated,
    run.devices_vanished,
    run.devices_missing,
    run.usage_as_of AS usage_last_sync_date,
    run.work_rows_queued AS usage_queue_count,
    run.usage_updated AS usage_updated_count,
    run.usage_unconfirmed AS usage_unconfirmed_count,
    (
        SELECT count(*) FROM amop.device_usage_processed AS single
        WHERE single.run_id = run.id AND single.reason <> ''
    ) AS single_usage_reads,
    run.pages,
    (
        SELECT count(*) FROM amop.device AS device
        WHERE device.service_provider_id = run.service_provider_id AND device.is_active
    ) AS device_count,
    (
        SELECT coalesce(sum(device.ctd_data_usage), 0) FROM amop.device AS device
        WHERE
            device.service_provider_id = run.service_provider_id
            AND device.billing_period_id = run.billing_period_id
    )::text AS cycle_data_usage,
    (
        SELECT count(*) FROM amop.device AS device
        WHERE
            device.service_provider_id = run.service_provider_id
            AND device.is_active AND device.status = 'ACTIVATED' AND device.date_activated IS NULL
    ) AS unknown_activation_count,
    (
        SELECT coalesce(sum(plan.rate_charge), 0)
        FROM amop.device AS device
        INNER JOIN amop.service_provider AS provider
            ON device.service_provider_id = provider.id AND provider.uses_proration
        INNER JOIN amop.carrier_rate_plan AS plan
            ON device.service_provider_id = plan.service_provider_id AND device.rate_plan = plan.rate_plan_code
        WHERE
            device.service_provider_id = run.service_provider_id
            AND device.is_active AND device.status = 'ACTIVATED' AND device.date_activated IS NULL
    )::text AS unknown_activation_cost,
    (
        SELECT count(*) FROM amop.device AS device
        WHERE
            device.service_provider_id = run.service_provider_id
            AND device.is_active AND (device.status = any(%(known_statuses)s::text[])) IS NOT TRUE
    ) AS unknown_status_count,
    (
        SELECT count(*) FROM amop.device AS device
        WHERE
            device.service_provider_id = run.service_provider_id
            AND device.is_active AND device.details_read_at IS NULL
    ) AS details_backlog_count,
    run.list_is_exact,
    run.list_is_whole,
    run.warnings,
    (
        SELECT count(*) FROM amop.device_quarantine AS rejected
        WHERE rejected.run_id = run.id AND rejected.kind = 'device'
    ) AS devices_quarantined,
    (
        SELECT count(*) FROM amop.device_quarantine AS rejected
        WHERE rejected.run_id = run.id AND rejected.kind = 'usage'
    ) AS usage_quarantined,
    array(
        SELECT refusal.rate_plan_code FROM amop.bulk_usage_refusal AS refusal
        WHERE refusal.service_provider_id = run.service_provider_id
        ORDER BY refusal.rate_plan_code
    ) AS rate_plans_without_bulk_usage,
    array(
        SELECT plan.name FROM amop.communication_plan AS plan
        WHERE
            plan.service_provider_id = run.service_provider_id
            AND NOT EXISTS (
                SELECT 1 FROM amop.communication_plan_rate_plan AS mapping
                WHERE mapping.communication_plan_id = plan.id
            )
        ORDER BY plan.name
    ) AS unassociated_communication_plans
FROM amop.device_sync_run AS run
WHERE run.id = %(run_id)s
