-- Purpose: list what keeps the staging of a run of the existing system from being merged (docs/staging-contract.md).
-- Parameters: run_id, dag_id (that of the runs that the existing system opens), identifiers (jsonb, name, pattern and
--   form of the SIM's identifier by API family).
-- Locks: none beyond reading.
-- Repeatable: reads only.
WITH run AS (
    SELECT
        known.*,
        rule.name AS identifier,
        rule.pattern,
        rule.form,
        (
            SELECT count(DISTINCT staged.iccid) FROM amop.device_staging AS staged WHERE staged.run_id = known.id
        ) AS sims_staged,
        (
            SELECT count(*) FROM amop.device_usage_to_process AS work WHERE work.run_id = known.id
        ) AS work_rows
    FROM amop.device_sync_run AS known
    INNER JOIN amop.service_provider AS provider ON known.service_provider_id = provider.id
    INNER JOIN amop.integration AS integration ON provider.integration_id = integration.id
    CROSS JOIN
        LATERAL jsonb_to_record(%(identifiers)s::jsonb -> integration.family)
        AS rule (name text, pattern text, form text)
    WHERE known.id = %(run_id)s
),

page AS (
    SELECT
        count(*) AS pages,
        coalesce(max(ledger.page_number), 0) AS highest,
        coalesce(bool_or(ledger.is_last_page), false) AS has_last
    FROM amop.device_sync_page AS ledger
    WHERE ledger.run_id = %(run_id)s
)

SELECT format('dag_id is %%s; runs of the existing system have %%s', run.dag_id, %(dag_id)s::text) AS fault
FROM run
WHERE run.dag_id <> %(dag_id)s
UNION ALL
SELECT format('status is %%s; it must be running', run.status)
FROM run
WHERE run.status <> 'running'
UNION ALL
SELECT 'billing_period_id is not the period that contains started_at'
FROM run
LEFT JOIN amop.billing_period AS period
    ON
        run.billing_period_id = period.id
        AND run.service_provider_id = period.service_provider_id
        AND run.started_at >= period.cycle_start
        AND run.started_at < period.cycle_end
WHERE period.id IS NULL
UNION ALL
SELECT 'list_is_complete is false: the device list is not finished'
FROM run
WHERE NOT run.list_is_complete
UNION ALL
SELECT 'usage_as_of is null: set it to the time at which the device list was complete'
FROM run
WHERE run.list_is_complete AND run.usage_as_of IS NULL
UNION ALL
SELECT format('devices_seen is %%s; device_staging has %%s SIMs', run.devices_seen, run.sims_staged)
FROM run
WHERE run.list_is_complete AND run.devices_seen <> run.sims_staged
UNION ALL
SELECT format('device_sync_page has %%s rows; the highest page_number is %%s', page.pages, page.highest)
FROM page
WHERE page.pages <> page.highest OR page.pages = 0
UNION ALL
SELECT 'device_sync_page has no row with is_last_page'
FROM page
WHERE page.pages > 0 AND NOT page.has_last
UNION ALL
SELECT format('%%s rows of device_staging have no %%s of %%s', count(*), run.identifier, run.form)
FROM run
INNER JOIN amop.device_staging AS staged ON run.id = staged.run_id
WHERE staged.iccid !~ ('^(' || run.pattern || ')$')
GROUP BY run.identifier, run.form
UNION ALL
SELECT format('%%s rows of device_usage_staging have no %%s of %%s', count(*), run.identifier, run.form)
FROM run
INNER JOIN amop.device_usage_staging AS usage ON run.id = usage.run_id
WHERE usage.iccid !~ ('^(' || run.pattern || ')$')
GROUP BY run.identifier, run.form
UNION ALL
SELECT format('device_usage_to_process has %%s of the run''s work rows left', run.work_rows)
FROM run
WHERE run.work_rows > 0
