-- Purpose: compare the usage that a run read with the counters of the warehouse before the merge, by usage type. Only
--   SIMs whose usage of that type this run read are compared (not those of a plan whose bulk usage was refused), each
--   with its counter of the latest merged run. A SIM read singly has that counter; zones, versions and pages of a bulk
--   read are summed. The two SIMs whose counters changed most are excluded from total_before and total, and the two
--   with the largest counters from typical_total, so that single SIMs never exceed a limit.
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

bulk AS (
    SELECT
        rate_plan_code,
        usage_type
    FROM amop.device_usage_processed
    WHERE run_id = %(run_id)s AND kind = 'rate_plan_usage'
    GROUP BY rate_plan_code, usage_type
    HAVING bool_and(refusal IS NULL)
),

read_type AS (
    SELECT every_type.usage_type
    FROM (VALUES ('DATA'), ('SMS'), ('VOICE')) AS every_type (usage_type)
    WHERE
        EXISTS (SELECT 1 FROM bulk WHERE bulk.usage_type = every_type.usage_type)
        OR EXISTS (
            SELECT 1 FROM amop.device_usage_staging AS read
            WHERE read.run_id = %(run_id)s AND read.usage_type = every_type.usage_type
        )
),

fleet AS (
    SELECT
        device.iccid,
        CASE WHEN staged.iccid IS NULL THEN device.rate_plan ELSE staged.rate_plan END AS rate_plan,
        read_type.usage_type,
        CASE read_type.usage_type
            WHEN 'DATA' THEN device.ctd_data_usage
            WHEN 'SMS' THEN device.ctd_sms_usage
            ELSE device.ctd_voice_usage
        END AS usage
    FROM amop.device AS device
    LEFT JOIN staged ON device.iccid = staged.iccid
    CROSS JOIN read_type
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
        coalesce(given.usage, 0) AS usage
    FROM fleet
    LEFT JOIN given ON fleet.iccid = given.iccid AND fleet.usage_type = given.usage_type
    LEFT JOIN bulk ON fleet.rate_plan = bulk.rate_plan_code AND fleet.usage_type = bulk.usage_type
    LEFT JOIN single ON fleet.iccid = single.iccid
    WHERE bulk.rate_plan_code IS NOT NULL OR (single.iccid IS NOT NULL AND given.iccid IS NOT NULL)
),

-- The SIMs whose counters changed most, without sorting the fleet.
largest AS (
    SELECT
        kind.usage_type,
        (array_agg(sim.iccid ORDER BY sim.change DESC, sim.iccid ASC)) AS samples,
        (array_agg(sim.usage_before ORDER BY sim.change DESC, sim.iccid ASC))[1:2] AS usage_before,
        (array_agg(sim.usage ORDER BY sim.change DESC, sim.iccid ASC))[1:2] AS usage
    FROM (VALUES ('DATA'), ('SMS'), ('VOICE')) AS kind (usage_type)
    CROSS JOIN LATERAL (
        SELECT
            compared.iccid,
            compared.usage_before,
            compared.usage,
            abs(compared.usage - compared.usage_before) AS change
        FROM compared
        WHERE compared.usage_type = kind.usage_type
        ORDER BY change DESC, compared.iccid ASC
        LIMIT 5
    ) AS sim
    GROUP BY kind.usage_type
),

most_used AS (
    SELECT
        kind.usage_type,
        sum(sim.usage) AS usage
    FROM (VALUES ('DATA'), ('SMS'), ('VOICE')) AS kind (usage_type)
    CROSS JOIN LATERAL (
        SELECT compared.usage
        FROM compared
        WHERE compared.usage_type = kind.usage_type
        ORDER BY compared.usage DESC
        LIMIT 2
    ) AS sim
    GROUP BY kind.usage_type
),

total AS (
    SELECT
        usage_type,
        count(*) AS sims,
        count(*) FILTER (WHERE usage > 0) AS used,
        count(*) FILTER (WHERE usage_before > 0) AS used_before,
        count(*) FILTER (
            WHERE
                usage_before > 0 AND usage = 0
                AND %(billing_period_id)s::bigint = %(known_billing_period_id)s::bigint
        ) AS vanished,
        sum(usage_before) AS usage_before,
        sum(usage) AS usage
    FROM compared
    GROUP BY usage_type
)

SELECT
    total.usage_type,
    total.used_before,
    total.vanished,
    total.usage_before - (SELECT sum(one.usage) FROM unnest(largest.usage_before) AS one (usage)) AS total_before,
    total.usage - (SELECT sum(one.usage) FROM unnest(largest.usage) AS one (usage)) AS total,
    largest.samples,
    total.sims,
    total.used,
    total.usage - most_used.usage AS typical_total
FROM total
INNER JOIN largest ON total.usage_type = largest.usage_type
INNER JOIN most_used ON total.usage_type = most_used.usage_type
ORDER BY total.usage_type
