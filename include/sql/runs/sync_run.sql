-- Purpose: read a sync run with its provider and billing period. A refused run may have no period.
-- Parameters: run_id (bigint).
-- Locks: none beyond reading.
-- Repeatable: reads only.
SELECT
    run.id,
    run.service_provider_id,
    run.dag_id,
    run.dag_run_id,
    run.attempt,
    run.status,
    run.error,
    coalesce(run.billing_period_id, 0) AS billing_period_id,
    run.optimization_session_id,
    run.is_full,
    run.modified_since,
    run.allows_mass_deactivation,
    run.allows_implausible,
    run.list_is_complete,
    run.list_is_exact,
    run.list_is_whole,
    run.pages,
    run.devices_seen,
    run.work_rows_queued,
    run.devices_inserted,
    run.devices_updated,
    run.devices_vanished,
    run.devices_missing,
    run.usage_updated,
    run.usage_unconfirmed,
    run.devices_merged_at,
    run.usage_merged_at,
    run.usage_as_of,
    run.progress_at,
    run.heartbeat_at,
    run.notification_sent_at,
    run.started_at,
    run.ended_at,
    run.archived_at,
    run.staging_removed_at,
    run.replayed_run_id,
    provider.name AS service_provider_name,
    provider.connection_id,
    provider.time_zone,
    provider.detail_calls_per_run,
    provider.usage_calls_per_run,
    provider.maximum_bad_share,
    provider.maximum_vanished_share,
    integration.name AS integration,
    integration.portal_type_id,
    integration.supports_optimization,
    coalesce(period.cycle_start, run.started_at) AS cycle_start,
    coalesce(period.cycle_end, run.started_at) AS cycle_end
FROM amop.device_sync_run AS run
INNER JOIN amop.service_provider AS provider ON run.service_provider_id = provider.id
INNER JOIN amop.integration AS integration ON provider.integration_id = integration.id
LEFT JOIN amop.billing_period AS period ON run.billing_period_id = period.id
WHERE run.id = %(run_id)s
