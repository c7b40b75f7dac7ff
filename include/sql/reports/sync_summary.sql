-- Purpose: the figures of the device sync summary.
-- Parameters: run_id (bigint).
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
    run.pages,
    (
        SELECT count(*) FROM amop.device AS device
        WHERE device.service_provider_id = run.service_provider_id AND device.is_active
    ) AS device_count,
    (
        SELECT count(*) FROM amop.device AS device
        WHERE
            device.service_provider_id = run.service_provider_id
            AND device.is_active AND device.status = 'ACTIVATED' AND device.date_activated IS NULL
    ) AS unknown_activation_count,
    (
        SELECT count(*) FROM amop.device_quarantine AS rejected
        WHERE rejected.run_id = run.id AND rejected.kind = 'device'
    ) AS devices_quarantined,
    (
        SELECT count(*) FROM amop.device_quarantine AS rejected
        WHERE rejected.run_id = run.id AND rejected.kind = 'usage'
    ) AS usage_quarantined,
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
