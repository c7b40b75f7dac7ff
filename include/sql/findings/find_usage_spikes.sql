-- Purpose: find SIMs whose recent usage is far above their own history, with the overage that it costs to the period's
--   end if it continues. A pooled SIM costs what its pool pays more. Usage is a spike if it is a multiple of what the
--   history suggests and beyond its usual spread; a SIM without enough history has none.
-- Parameters: billing_period_id, history_begins_at, recent_begins_at, recent_days, elapsed_days, days_left; limits:
--   spike_factor, spike_spreads, spike_mb, fewest_history_days. Needs finding_sim, finding_pool, finding_candidate.
-- Locks: none; writes a temporary table.
-- Repeatable: in another transaction.
INSERT INTO finding_candidate (kind, subject, occurrence, device_id, amount, facts)
SELECT
    'usage_spike',
    spike.iccid,
    %(billing_period_id)s::bigint::text,
    spike.device_id,
    cost.amount,
    jsonb_build_object(
        'rate_plan', spike.rate_plan,
        'recent_mb', round(spike.recent_mb, 6)::text,
        'usual_mb', round(spike.usual_mb, 6)::text,
        'recent_days', round(%(recent_days)s::numeric, 1)::text
    )
FROM (
    SELECT
        sim.*,
        known.days AS history_days,
        sim.history_mb / known.days * %(recent_days)s::numeric AS usual_mb
    FROM finding_sim AS sim
    LEFT JOIN LATERAL (
        SELECT min(listed.as_of) AS as_of FROM amop.device_history AS listed
        WHERE sim.date_activated IS NULL AND listed.device_id = sim.device_id
    ) AS first_listed ON true
    CROSS JOIN LATERAL (
        SELECT
            extract(
                EPOCH FROM %(recent_begins_at)s::timestamptz
                - greatest(%(history_begins_at)s::timestamptz, coalesce(sim.date_activated, first_listed.as_of))
            ) / 86400 AS days
    ) AS known
    WHERE
        sim.recent_mb >= %(spike_mb)s::numeric
        AND known.days >= %(fewest_history_days)s::numeric
) AS spike
INNER JOIN amop.carrier_rate_plan AS plan ON spike.rate_plan_id = plan.id
LEFT JOIN finding_pool AS pool ON spike.pool_name = pool.pool_name
CROSS JOIN LATERAL (
    SELECT
        spike.used_mb + spike.recent_mb / %(recent_days)s::numeric * %(days_left)s::numeric AS with_spike,
        (spike.recent_mb - spike.usual_mb) * (
            least(1, %(elapsed_days)s::numeric / %(recent_days)s::numeric)
            + %(days_left)s::numeric / %(recent_days)s::numeric
        ) AS excess
) AS projected
CROSS JOIN LATERAL (
    SELECT
        CASE
            WHEN spike.pool_name IS NULL THEN
                amop.overage_cost(
                    projected.with_spike, spike.allowance_mb, plan.data_per_overage_charge, plan.overage_rate
                )
                - amop.overage_cost(
                    projected.with_spike - projected.excess, spike.allowance_mb, plan.data_per_overage_charge,
                    plan.overage_rate
                )
            ELSE
                amop.overage_cost(
                    pool.projected_mb - spike.projected_mb + projected.with_spike, pool.allowance_mb,
                    pool.data_per_overage_charge, pool.overage_rate
                )
                - amop.overage_cost(
                    pool.projected_mb - spike.projected_mb + projected.with_spike - projected.excess, pool.allowance_mb,
                    pool.data_per_overage_charge, pool.overage_rate
                )
        END AS amount
) AS cost
WHERE
    spike.recent_mb - spike.usual_mb >= %(spike_mb)s::numeric
    AND spike.recent_mb >= spike.usual_mb * %(spike_factor)s::numeric
    AND spike.recent_mb - spike.usual_mb >= %(spike_spreads)s::double precision * sqrt(
        greatest(
            0,
            spike.history_squares / spike.history_days::double precision
            - (spike.history_mb / spike.history_days)::double precision ^ 2
        ) * %(recent_days)s::double precision
    )
    AND cost.amount > 0
