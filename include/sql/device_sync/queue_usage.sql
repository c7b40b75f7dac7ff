-- Purpose: queue the usage reads of a run: one row per rate plan that a SIM is or was on within the period, version and
--   usage type; one row per SIM without bulk usage (plan declared as shared, no plan), but SIMs that were retired when
--   they were first seen are left to queue_single_reads, which reads them within the budget. SMS is read where the
--   plan, or any plan that one of its SIMs may be put on, has a price for it. VOICE has no price. A plan whose bulk
--   usage the carrier refused earlier is tried again with a full list only; queue_single_reads reads its SIMs within
--   the budget. A family of carrier APIs without bulk usage has one row per SIM.
-- Parameters: run_id, service_provider_id, is_full, has_bulk_usage. Needs present_device.
-- Locks: none beyond the new rows.
-- Repeatable: existing rows are left unchanged.
WITH plan AS (
    SELECT
        code.name AS rate_plan_code,
        coalesce(known.version, 1) AS version,
        coalesce(known.sms_rate, 0) > 0 AS has_sms_price,
        NOT %(has_bulk_usage)s::boolean
        OR (coalesce(known.is_shared, false) AND refusal.rate_plan_code IS NULL) AS is_shared,
        %(has_bulk_usage)s::boolean
        AND refusal.rate_plan_code IS NOT NULL
        AND NOT %(is_full)s::boolean AS is_refused
    FROM (SELECT DISTINCT unnest(rate_plans) AS name FROM present_device) AS code
    LEFT JOIN amop.carrier_rate_plan AS known
        ON known.service_provider_id = %(service_provider_id)s AND code.name = known.rate_plan_code
    LEFT JOIN amop.bulk_usage_refusal AS refusal
        ON refusal.service_provider_id = %(service_provider_id)s AND code.name = refusal.rate_plan_code
),

may_be_priced AS (
    SELECT DISTINCT communication.name
    FROM amop.communication_plan AS communication
    INNER JOIN amop.communication_plan_rate_plan AS mapping ON communication.id = mapping.communication_plan_id
    INNER JOIN amop.carrier_rate_plan AS target ON mapping.carrier_rate_plan_id = target.id
    WHERE
        communication.service_provider_id = %(service_provider_id)s
        AND target.sms_rate > 0
        AND NOT target.is_retired
),

to_read AS (
    SELECT
        used.rate_plan_code,
        bool_or(priced.name IS NOT NULL) AS may_have_sms_price
    FROM present_device AS sim
    CROSS JOIN LATERAL unnest(sim.rate_plans) AS used (rate_plan_code)
    LEFT JOIN may_be_priced AS priced ON sim.communication_plan = priced.name
    WHERE sim.is_counted
    GROUP BY used.rate_plan_code
)

INSERT INTO amop.device_usage_to_process (run_id, kind, rate_plan_code, rate_plan_version, usage_type, iccid)
SELECT
    %(run_id)s::bigint,
    'rate_plan_usage',
    plan.rate_plan_code,
    version.number,
    usage_type.name,
    ''
FROM to_read
INNER JOIN plan ON to_read.rate_plan_code = plan.rate_plan_code
CROSS JOIN LATERAL generate_series(1, plan.version) AS version (number)
CROSS JOIN LATERAL (
    SELECT 'DATA' AS name
    UNION ALL
    SELECT 'SMS' AS name
    WHERE plan.has_sms_price OR to_read.may_have_sms_price
) AS usage_type
WHERE NOT plan.is_shared AND NOT plan.is_refused
UNION ALL
SELECT
    %(run_id)s::bigint,
    'device_usage',
    '',
    0,
    '',
    sim.iccid
FROM present_device AS sim
LEFT JOIN plan ON sim.rate_plan = plan.rate_plan_code
WHERE sim.is_counted AND NOT sim.is_new_retired AND (sim.rate_plan IS NULL OR plan.is_shared)
ON CONFLICT DO NOTHING
