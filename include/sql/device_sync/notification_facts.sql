-- Purpose: read what the queue message of a run carries besides the run itself.
-- Parameters: run_id (bigint).
-- Locks: none beyond reading.
-- Repeatable: reads only.
SELECT
    integration.name AS integration,
    integration.integration_type,
    (
        SELECT count(*)
        FROM amop.device_usage_to_process AS work
        WHERE work.run_id = run.id
    ) AS work_rows_left
FROM amop.device_sync_run AS run
INNER JOIN amop.service_provider AS provider ON run.service_provider_id = provider.id
INNER JOIN amop.integration AS integration ON provider.integration_id = integration.id
WHERE run.id = %(run_id)s
