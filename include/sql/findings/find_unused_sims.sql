-- Purpose: find active SIMs without any usage for a long time, with the charges of the period that they cost for
--   nothing. A SIM that lends its allowance to a pool that is heading over is worth that overage, which is deducted. A
--   SIM counts as unused only since it was first listed as ACTIVATED here: earlier usage is not known.
-- Parameters: unused_since (timestamptz). Needs finding_sim, finding_pool and finding_candidate.
-- Locks: none; writes a temporary table.
-- Repeatable: in another transaction.
INSERT INTO finding_candidate (kind, subject, occurrence, device_id, amount, facts)
SELECT
    'no_usage',
    sim.iccid,
    to_char(quiet.since AT TIME ZONE 'UTC', 'YYYY-MM-DD'),
    sim.device_id,
    cost.charges - cost.lent,
    jsonb_build_object(
        'rate_plan', sim.rate_plan,
        'quiet_since', to_char(quiet.since AT TIME ZONE 'UTC', 'YYYY-MM-DD'),
        'charges', cost.charges::text,
        'lent', cost.lent::text
    )
FROM finding_sim AS sim
INNER JOIN amop.device AS device ON sim.device_id = device.id AND NOT device.usage_is_unconfirmed
INNER JOIN amop.carrier_rate_plan AS plan ON sim.rate_plan_id = plan.id
LEFT JOIN finding_pool AS pool ON sim.pool_name = pool.pool_name
CROSS JOIN LATERAL (
    SELECT min(listed.as_of) AS since FROM amop.device_history AS listed
    WHERE listed.device_id = sim.device_id AND upper(listed.status) = 'ACTIVATED'
) AS first_active
CROSS JOIN LATERAL (
    SELECT greatest(first_active.since, sim.last_usage_date, sim.date_activated) AS since
) AS quiet
CROSS JOIN LATERAL (
    SELECT
        plan.rate_charge + plan.base_rate AS charges,
        coalesce(
            amop.overage_cost(
                pool.projected_mb, pool.allowance_mb - sim.allowance_mb, pool.data_per_overage_charge, pool.overage_rate
            ) - pool.overage_cost,
            0
        ) AS lent
) AS cost
WHERE
    sim.is_activated
    AND sim.used_mb = 0
    AND sim.sms_usage = 0
    AND device.ctd_voice_usage = 0
    AND coalesce(sim.last_usage_date < %(unused_since)s::timestamptz, true)
    AND coalesce(sim.date_activated < %(unused_since)s::timestamptz, true)
    AND first_active.since < %(unused_since)s::timestamptz
    AND cost.charges > cost.lent
