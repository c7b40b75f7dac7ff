-- Purpose: queue a single read of every SIM that has used data in this billing period, is on a rate plan whose usage
--   this run has read in bulk, and was named by none of those pages; at most so many, else none. The single read gives
--   all of a SIM's counters, so that what the bulk calls of other usage types brought of it goes.
-- Parameters: run_id, service_provider_id, billing_period_id, list_is_exact_full (SIMs not listed by an exact full list
--   have vanished), maximum_reads.
-- Locks: the new and the deleted rows.
-- Repeatable: a SIM that was read or set aside is not queued again.
WITH staged AS (
    SELECT DISTINCT ON (iccid)
        iccid,
        status,
        rate_plan
    FROM amop.device_staging
    WHERE run_id = %(run_id)s
    ORDER BY iccid ASC, scan_pass DESC, page_number DESC, row_number DESC
),

unnamed AS (
    SELECT device.iccid
    FROM amop.device AS device
    LEFT JOIN staged ON device.iccid = staged.iccid
    INNER JOIN amop.device_usage_processed AS bulk
        ON
            bulk.run_id = %(run_id)s
            AND bulk.kind = 'rate_plan_usage'
            AND bulk.usage_type = 'DATA'
            AND bulk.rate_plan_version = 1
            AND bulk.rate_plan_code = CASE
                WHEN staged.iccid IS NULL THEN device.rate_plan ELSE staged.rate_plan
            END
    WHERE
        device.service_provider_id = %(service_provider_id)s
        AND device.is_active
        AND device.ctd_data_usage > 0
        AND device.billing_period_id = %(billing_period_id)s
        AND (staged.iccid IS NOT NULL OR NOT %(list_is_exact_full)s)
        AND CASE WHEN staged.iccid IS NULL THEN device.status ELSE staged.status END IS DISTINCT FROM 'RETIRED'
        AND NOT EXISTS (
            SELECT 1 FROM amop.device_usage_staging AS usage
            WHERE usage.run_id = %(run_id)s AND usage.iccid = device.iccid AND usage.usage_type = 'DATA'
        )
        AND NOT EXISTS (
            SELECT 1 FROM amop.device_quarantine AS rejected
            WHERE rejected.run_id = %(run_id)s AND rejected.kind = 'usage' AND rejected.iccid = device.iccid
        )
        AND NOT EXISTS (
            SELECT 1 FROM amop.device_usage_processed AS single
            WHERE single.run_id = %(run_id)s AND single.kind = 'device_usage' AND single.iccid = device.iccid
        )
),

counted AS (
    SELECT count(*) AS sims FROM unnamed
),

queued AS (
    INSERT INTO amop.device_usage_to_process (run_id, kind, iccid)
    SELECT
        %(run_id)s::bigint,
        'device_usage',
        unnamed.iccid
    FROM unnamed
    WHERE (SELECT counted.sims FROM counted) <= %(maximum_reads)s
    ON CONFLICT DO NOTHING
    RETURNING iccid
),

replaced AS (
    DELETE FROM amop.device_usage_staging AS usage
    USING queued
    WHERE usage.run_id = %(run_id)s AND usage.iccid = queued.iccid
)

SELECT
    (SELECT counted.sims FROM counted) AS unnamed,
    (SELECT count(*) FROM queued) AS queued
