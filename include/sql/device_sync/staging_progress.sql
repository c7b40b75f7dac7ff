-- Purpose: return what the staging sensors poll: whether the list is complete, the number of work rows left, the last
--   progress, and the time of the reading by the same clock. Which rows count is the rule of the run's carrier family.
-- Parameters: run_ids, count_rules (jsonb object: family → ignores_deleted, maximum_retries).
-- Locks: none beyond reading.
-- Repeatable: reads only.
SELECT
    run.id AS run_id,
    run.status,
    run.error,
    run.pages,
    run.list_is_complete,
    run.progress_at,
    work.rows_left AS work_rows_left,
    work.rows_given_up AS work_rows_given_up,
    clock_timestamp() AS read_at
FROM amop.device_sync_run AS run
INNER JOIN amop.service_provider AS provider ON run.service_provider_id = provider.id
INNER JOIN amop.integration AS integration ON provider.integration_id = integration.id
CROSS JOIN
    LATERAL (
        SELECT
            coalesce((rules.of_family ->> 'ignores_deleted')::boolean, false) AS ignores_deleted,
            (rules.of_family ->> 'maximum_retries')::integer AS maximum_retries
        FROM (SELECT %(count_rules)s::jsonb -> integration.family AS of_family) AS rules
    ) AS rule
CROSS JOIN
    LATERAL (
        SELECT
            count(*) FILTER (WHERE NOT coalesce(counted.retry_count >= rule.maximum_retries, false)) AS rows_left,
            count(*) FILTER (WHERE counted.retry_count >= rule.maximum_retries) AS rows_given_up
        FROM amop.device_usage_to_process AS counted
        WHERE counted.run_id = run.id AND NOT (rule.ignores_deleted AND counted.is_deleted)
    ) AS work
WHERE run.id = any(%(run_ids)s::bigint[])
