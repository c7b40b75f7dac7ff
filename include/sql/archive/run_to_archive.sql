-- Purpose: return what the archive stores about a run, and whether the answers of all usage reads and of
--   every page of its list have arrived (answers that are no page of the list, such as a refused date, come on top).
-- Parameters: run_id.
-- Locks: none beyond reading.
-- Repeatable: reads only.
SELECT
    run.id AS run_id,
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
    run.list_is_complete
    AND NOT EXISTS (SELECT 1 FROM amop.device_usage_to_process AS work WHERE work.run_id = run.id)
    AND NOT EXISTS (
        SELECT 1 FROM amop.device_sync_page AS page
        WHERE
            page.run_id = run.id
            AND (page.device_count > 0 OR page.is_last_page)
            AND NOT EXISTS (
                SELECT 1 FROM amop.carrier_page AS answer
                WHERE
                    answer.run_id = run.id AND answer.kind = 'device_list'
                    AND answer.scan_pass = page.scan_pass AND answer.page_number = page.page_number
            )
    ) AS is_complete
FROM amop.device_sync_run AS run
INNER JOIN amop.service_provider AS provider ON run.service_provider_id = provider.id
INNER JOIN amop.integration AS integration ON provider.integration_id = integration.id
INNER JOIN amop.billing_period AS period ON run.billing_period_id = period.id
WHERE run.id = %(run_id)s
