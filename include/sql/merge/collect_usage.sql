-- Purpose: for every SIM that this run read, its counters of the cycle as the carrier has them now.
--   Zones, plan versions and pages add up. A SIM that the bulk call of its plan does not name has used nothing.
--   A counter that this run did not read keeps its value within a cycle and starts at 0 in a new one.
--   Where the cycle has ended while the run was reading: bulk usage is asked for by cycle, so that it is the final one
--   and never lowers a counter; a single read of a SIM gives the counters of the next cycle, so that it is left out and
--   the next sync brings it whole. A SIM that a later run has brought to a later cycle is left as it is.
--   A SIM with a usage record that is still in quarantine is left as it was,
--   and so is one that the latest full list did not name.
-- Parameters: run_id, service_provider_id, billing_period_id, iccids (text[], only these SIMs; null = all).
-- Locks: none; fills a temporary table of this transaction.
-- Repeatable: the table is dropped at the end of the transaction.
CREATE TEMPORARY TABLE collected_usage ON COMMIT DROP AS
WITH run AS (
    SELECT
        %(run_id)s::bigint AS id,
        %(service_provider_id)s::bigint AS service_provider_id,
        period.id AS billing_period_id,
        period.cycle_start,
        period.cycle_end
    FROM amop.billing_period AS period
    WHERE period.id = %(billing_period_id)s
),

usage AS (
    SELECT
        staged.iccid,
        sum(staged.usage) FILTER (WHERE staged.usage_type = 'DATA') AS data_usage,
        sum(staged.usage) FILTER (WHERE staged.usage_type = 'SMS') AS sms_usage,
        sum(staged.usage) FILTER (WHERE staged.usage_type = 'VOICE') AS voice_usage,
        sum(staged.usage) FILTER (WHERE staged.usage_type = 'SESSIONS') AS session_count
    FROM amop.device_usage_staging AS staged
    INNER JOIN run ON staged.run_id = run.id
    WHERE staged.rate_plan_code <> '' OR staged.received_at < run.cycle_end
    GROUP BY staged.iccid
),

bulk AS (
    SELECT
        processed.rate_plan_code,
        bool_or(processed.usage_type = 'DATA') AS has_data,
        bool_or(processed.usage_type = 'SMS') AS has_sms,
        bool_or(processed.usage_type = 'VOICE') AS has_voice,
        bool_or(processed.processed_at >= run.cycle_end) AS is_final
    FROM amop.device_usage_processed AS processed
    INNER JOIN run ON processed.run_id = run.id
    WHERE processed.kind = 'rate_plan_usage'
    GROUP BY processed.rate_plan_code
),

single AS (
    SELECT processed.iccid
    FROM amop.device_usage_processed AS processed
    INNER JOIN run ON processed.run_id = run.id
    WHERE processed.kind = 'device_usage' AND processed.processed_at < run.cycle_end
)

SELECT
    device.id AS device_id,
    coalesce(device.billing_period_id = run.billing_period_id, false) AS is_same_cycle,
    device.ctd_data_usage AS old_data_usage,
    device.ctd_sms_usage AS old_sms_usage,
    device.ctd_voice_usage AS old_voice_usage,
    device.ctd_session_count AS old_session_count,
    CASE
        WHEN single.iccid IS NOT NULL OR bulk.has_data THEN greatest(usage.data_usage, final.ctd_data_usage, 0)
        WHEN device.billing_period_id = run.billing_period_id THEN device.ctd_data_usage
        ELSE 0
    END::bigint AS data_usage,
    CASE
        WHEN single.iccid IS NOT NULL OR bulk.has_sms THEN greatest(usage.sms_usage, final.ctd_sms_usage, 0)
        WHEN device.billing_period_id = run.billing_period_id THEN device.ctd_sms_usage
        ELSE 0
    END::bigint AS sms_usage,
    CASE
        WHEN single.iccid IS NOT NULL OR bulk.has_voice THEN greatest(usage.voice_usage, final.ctd_voice_usage, 0)
        WHEN device.billing_period_id = run.billing_period_id THEN device.ctd_voice_usage
        ELSE 0
    END::bigint AS voice_usage,
    CASE
        WHEN single.iccid IS NOT NULL THEN coalesce(usage.session_count, 0)
        WHEN device.billing_period_id = run.billing_period_id THEN device.ctd_session_count
        ELSE 0
    END::bigint AS session_count
FROM amop.device AS device
INNER JOIN run ON device.service_provider_id = run.service_provider_id
LEFT JOIN usage ON device.iccid = usage.iccid
LEFT JOIN bulk ON device.rate_plan = bulk.rate_plan_code
LEFT JOIN single ON device.iccid = single.iccid
LEFT JOIN amop.billing_period AS held ON device.billing_period_id = held.id
LEFT JOIN LATERAL (
    SELECT
        device.ctd_data_usage,
        device.ctd_sms_usage,
        device.ctd_voice_usage
    WHERE bulk.is_final AND held.id = run.billing_period_id
) AS final ON true
WHERE
    device.is_active
    AND (%(iccids)s::text[] IS NULL OR device.iccid = any(%(iccids)s::text[]))
    AND (single.iccid IS NOT NULL OR bulk.rate_plan_code IS NOT NULL)
    AND device.status IS DISTINCT FROM 'RETIRED'
    AND coalesce(held.cycle_start <= run.cycle_start, true)
    AND NOT EXISTS (
        SELECT 1 FROM amop.device_missing AS missing
        WHERE missing.device_id = device.id
    )
    AND NOT EXISTS (
        SELECT 1 FROM amop.device_quarantine AS rejected
        WHERE
            rejected.run_id = run.id AND rejected.kind = 'usage' AND rejected.iccid = device.iccid
            AND rejected.resolved_at IS NULL
    )
