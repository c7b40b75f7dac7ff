-- Purpose: remember the rate plans whose bulk data usage the carrier refused in every version with a final error, as
--   shared; forget those whose bulk usage it gives again. If no bulk read of the run succeeded, a plan is remembered
--   only where the budget covers its SIMs: the cause is then most likely not the plan. Return the newly remembered
--   plans.
-- Parameters: run_id, service_provider_id, maximum_reads (of single reads in a run), now. Needs present_device.
-- Locks: the written rows.
-- Repeatable: a remembered plan is returned once.
WITH read AS (
    SELECT
        rate_plan_code,
        bool_and(refusal IS NULL) AS is_whole,
        bool_and(coalesce(refusal_status BETWEEN 400 AND 499, false)) AS is_refused,
        max(refusal) AS reason
    FROM amop.device_usage_processed
    WHERE run_id = %(run_id)s AND kind = 'rate_plan_usage' AND usage_type = 'DATA'
    GROUP BY rate_plan_code
),

refused AS (
    SELECT
        read.rate_plan_code,
        read.reason,
        count(sim.iccid)::integer AS device_count
    FROM read
    LEFT JOIN present_device AS sim ON read.rate_plan_code = sim.rate_plan AND sim.is_counted
    WHERE read.is_refused
    GROUP BY read.rate_plan_code, read.reason
    HAVING
        (SELECT bool_or(other.is_whole) FROM read AS other)
        OR count(sim.iccid) <= %(maximum_reads)s::bigint
),

forgotten AS (
    DELETE FROM amop.bulk_usage_refusal AS known
    USING read
    WHERE
        known.service_provider_id = %(service_provider_id)s
        AND known.rate_plan_code = read.rate_plan_code
        AND read.is_whole
    RETURNING known.rate_plan_code
),

learned AS (
    UPDATE amop.carrier_rate_plan AS plan
    SET is_shared = refused.rate_plan_code IS NOT NULL
    FROM (SELECT rate_plan_code FROM refused
    UNION
    SELECT rate_plan_code FROM forgotten) AS changed
    LEFT JOIN refused ON changed.rate_plan_code = refused.rate_plan_code
    WHERE
        plan.service_provider_id = %(service_provider_id)s
        AND plan.rate_plan_code = changed.rate_plan_code
        AND plan.is_shared IS DISTINCT FROM (refused.rate_plan_code IS NOT NULL)
),

remembered AS (
    INSERT INTO amop.bulk_usage_refusal (service_provider_id, rate_plan_code, refused_at, device_count, reason)
    SELECT
        %(service_provider_id)s,
        rate_plan_code,
        %(now)s,
        device_count,
        reason
    FROM refused
    ON CONFLICT DO NOTHING
    RETURNING rate_plan_code, device_count, reason
)

SELECT
    rate_plan_code,
    device_count,
    reason
FROM remembered
ORDER BY rate_plan_code
