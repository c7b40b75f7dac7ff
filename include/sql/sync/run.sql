-- Purpose: everything that a task must know of its run, its provider and its billing period.
-- Parameters: run_id (bigint).
-- Locks: none beyond reading.
-- Repeatable: reads only.
SELECT
    run.*,
    provider.name AS service_provider_name,
    provider.connection_id,
    provider.time_zone,
    provider.detail_calls_per_run,
    provider.maximum_bad_share,
    provider.maximum_vanished_share,
    integration.name AS integration,
    integration.portal_type_id,
    integration.supports_optimization,
    period.cycle_start,
    period.cycle_end
FROM amop.device_sync_run AS run
INNER JOIN amop.service_provider AS provider ON run.service_provider_id = provider.id
INNER JOIN amop.integration AS integration ON provider.integration_id = integration.id
INNER JOIN amop.billing_period AS period ON run.billing_period_id = period.id
WHERE run.id = %(run_id)s
