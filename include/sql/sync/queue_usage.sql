-- Purpose: queue the usage reads of a run: one row per rate plan, version and usage type; one row per SIM that the bulk
--   call cannot give (shared plan, no plan).
-- Parameters: run_id, service_provider_id, list_is_exact_full (SIMs not listed by an exact full list have vanished).
-- Locks: none beyond the new rows.
-- Repeatable: rows that exist are left alone.
WITH staged AS (
    SELECT DISTINCT ON (iccid)
        iccid,
        status,
        rate_plan
    FROM amop.device_staging
    WHERE run_id = %(run_id)s
    ORDER BY iccid ASC, scan_pass DESC, page_number DESC, row_number DESC
),

present AS (
    SELECT
        iccid,
        status,
        rate_plan
    FROM staged
    UNION ALL
    SELECT
        device.iccid,
        device.status,
        device.rate_plan
    FROM amop.device AS device
    WHERE
        device.service_provider_id = %(service_provider_id)s
        AND device.is_active
        AND NOT %(list_is_exact_full)s
        AND NOT EXISTS (SELECT 1 FROM staged WHERE staged.iccid = device.iccid)
),

to_read AS (
    SELECT
        present.iccid,
        present.rate_plan,
        coalesce(plan.is_shared, false) OR present.rate_plan IS NULL AS needs_single_call,
        coalesce(plan.version, 1) AS version,
        coalesce(plan.sms_rate, 0) > 0 AS needs_sms
    FROM present
    LEFT JOIN amop.carrier_rate_plan AS plan
        ON plan.service_provider_id = %(service_provider_id)s AND present.rate_plan = plan.rate_plan_code
    WHERE present.status IS DISTINCT FROM 'RETIRED'
)

INSERT INTO amop.device_usage_to_process (run_id, kind, rate_plan_code, rate_plan_version, usage_type, iccid)
SELECT DISTINCT
    %(run_id)s::bigint,
    'rate_plan_usage',
    to_read.rate_plan,
    version.number,
    usage_type.name,
    ''
FROM to_read
CROSS JOIN LATERAL generate_series(1, to_read.version) AS version (number)
CROSS JOIN LATERAL (
    SELECT 'DATA' AS name
    UNION ALL
    SELECT 'SMS' AS name
    WHERE to_read.needs_sms
) AS usage_type
WHERE NOT to_read.needs_single_call
UNION ALL
SELECT
    %(run_id)s::bigint,
    'device_usage',
    '',
    0,
    '',
    to_read.iccid
FROM to_read
WHERE to_read.needs_single_call
ON CONFLICT DO NOTHING
