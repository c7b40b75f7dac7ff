-- Purpose: what the archive must know of a run, and whether all of its answers have arrived.
-- Parameters: run_id (bigint).
-- Locks: none beyond reading.
-- Repeatable: reads only.
SELECT
    run.id AS run_id,
    run.status,
    run.service_provider_id,
    provider.name AS service_provider_name,
    provider.time_zone,
    integration.name AS integration,
    integration.family,
    run.started_at,
    run.usage_as_of,
    run.is_full,
    run.list_is_exact,
    period.cycle_start,
    period.cycle_end,
    run.archived_at,
    run.list_is_complete
    AND NOT EXISTS (SELECT 1 FROM amop.device_usage_to_process AS work WHERE work.run_id = run.id)
    AND (
        SELECT count(*) FROM amop.carrier_page AS page WHERE page.run_id = run.id AND page.kind = 'device_list'
    ) = (SELECT count(*) FROM amop.device_sync_page AS page WHERE page.run_id = run.id) AS is_complete,
    (SELECT count(*) FROM amop.carrier_page AS page WHERE page.run_id = run.id) AS pages
FROM amop.device_sync_run AS run
INNER JOIN amop.service_provider AS provider ON run.service_provider_id = provider.id
INNER JOIN amop.integration AS integration ON provider.integration_id = integration.id
INNER JOIN amop.billing_period AS period ON run.billing_period_id = period.id
WHERE run.id = %(run_id)s
