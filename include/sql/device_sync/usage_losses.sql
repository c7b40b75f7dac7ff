-- Purpose: compare the usage that a run read with the counters of the warehouse before the merge, by usage type. Only
--   SIMs whose usage of that type this run read are compared (not those of a plan whose bulk usage was refused), each
--   with its counter of the latest merged run. A SIM read singly has that counter; zones, versions and pages of a bulk
--   read are summed. The two SIMs whose counters changed most are excluded from the totals, so that single SIMs never
--   exceed a limit.
-- Parameters: run_id, service_provider_id, billing_period_id (of the run), known_billing_period_id (of the latest
--   merged run), cycle_end (of the run: single reads after it belong to the next cycle), list_is_full (SIMs missing
--   from a full list are judged by list_losses, not here).
-- Locks: none beyond reading.
-- Repeatable: reads only.
WITH staged AS (
    SELECT
        iccid,
        rate_plan
    FROM amop.latest_staged_device
    WHERE run_id = %(run_id)s
),

fleet AS (
    SELECT
        device.iccid,
        CASE WHEN staged.iccid IS NULL THEN device.rate_plan ELSE staged.rate_plan END AS rate_plan,
        counter.usage_type,
        counter.usage
    FROM amop.device AS device
    LEFT JOIN staged ON device.iccid = staged.iccid
    CROSS JOIN LATERAL (
        VALUES
        ('DATA', device.ctd_data_usage), ('SMS', device.ctd_sms_usage), ('VOICE', device.ctd_voice_usage)
    ) AS counter (usage_type, usage)
    WHERE
        device.service_provider_id = %(service_provider_id)s
        AND device.is_active
        AND device.billing_period_id = %(known_billing_period_id)s
        AND (staged.iccid IS NOT NULL OR NOT %(list_is_full)s)
        AND NOT EXISTS (
            SELECT 1 FROM amop.device_quarantine AS rejected
            WHERE
                rejected.run_id = %(run_id)s AND rejected.kind = 'usage' AND rejected.iccid = device.iccid
                AND rejected.resolved_at IS NULL
        )
),

bulk AS (
    SELECT
        rate_plan_code,
        usage_type
    FROM amop.device_usage_processed
    WHERE run_id = %(run_id)s AND kind = 'rate_plan_usage'
    GROUP BY rate_plan_code, usage_type
    HAVING bool_and(refusal IS NULL)
),

single AS (
    SELECT iccid
    FROM amop.device_usage_processed
    WHERE run_id = %(run_id)s AND kind = 'device_usage' AND processed_at < %(cycle_end)s
),

given AS (
    SELECT
        iccid,
        usage_type,
        coalesce(
            sum(usage) FILTER (WHERE rate_plan_code = '' AND received_at < %(cycle_end)s),
            sum(usage) FILTER (WHERE rate_plan_code <> '')
        ) AS usage
    FROM amop.device_usage_staging
    WHERE run_id = %(run_id)s
    GROUP BY iccid, usage_type
),

compared AS (
    SELECT
        fleet.usage_type,
        fleet.iccid,
        fleet.usage AS usage_before,
        coalesce(given.usage, 0) AS usage,
        row_number() OVER (
            PARTITION BY fleet.usage_type ORDER BY abs(coalesce(given.usage, 0) - fleet.usage) DESC, fleet.iccid ASC
        ) AS change_rank
    FROM fleet
    LEFT JOIN given ON fleet.iccid = given.iccid AND fleet.usage_type = given.usage_type
    LEFT JOIN bulk ON fleet.rate_plan = bulk.rate_plan_code AND fleet.usage_type = bulk.usage_type
    LEFT JOIN single ON fleet.iccid = single.iccid
    WHERE bulk.rate_plan_code IS NOT NULL OR (single.iccid IS NOT NULL AND given.iccid IS NOT NULL)
)

SELECT
    usage_type,
    count(*) FILTER (WHERE usage_before > 0) AS used_before,
    count(*) FILTER (
        WHERE usage_before > 0 AND usage = 0 AND %(billing_period_id)s::bigint = %(known_billing_period_id)s::bigint
    ) AS vanished,
    coalesce(sum(usage_before) FILTER (WHERE change_rank > 2), 0) AS total_before,
    coalesce(sum(usage) FILTER (WHERE change_rank > 2), 0) AS total,
    (array_agg(iccid ORDER BY change_rank ASC))[1:5] AS samples
FROM compared
GROUP BY usage_type
ORDER BY usage_type
