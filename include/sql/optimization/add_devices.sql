-- Purpose: the inputs of an instance, one row per eligible SIM: usage, its projection to the period's end, billed days.
--   All arithmetic is exact: 1e-6 MB in integers, rounded half up; `div` truncates, so 2n + d over 2d rounds.
--   A SIM's usage is projected unless its status says that it uses nothing more, or it last used something outside
--   the cycle (the rule is amop.domain.projection): from its usage days where it has enough of them
--   (amop.domain.usage_history), else by the factor.
-- Parameters: instance_id, service_provider_id, billing_period_id, usage_as_of, uses_proration, days_in_period,
--   numerator and denominator (the projection's factor; 1/1 leaves usage unchanged), unprojected_statuses (text[]);
--   of the usage history (create_usage_history comes before): begins_at (timestamptz[]) of the usage days, history_days
--   and last_weights (bigint[], one more than days: how many count, and what the last one weighs in 1e-6, for a SIM
--   whose first day is number 0, 1, …), fewest_days, safety_percent (101); largest_usage_mb and largest_sms_usage: a
--   SIM beyond them has a broken counter and is left out.
-- Locks: the new rows.
-- Repeatable: in one transaction with the note that it was done; a SIM that is there already is left alone.
INSERT INTO amop.optimization_device (
    instance_id, device_id, comm_group_id, iccid, current_rate_plan, current_rate_plan_id, usage_mb,
    projected_usage_mb, sms_usage, days_activated, is_prorated, history_days
)
SELECT
    %(instance_id)s,
    sim.device_id,
    comm_group.comm_group_id,
    sim.iccid,
    sim.rate_plan,
    plan.id,
    measured.micro_mb * 0.000001,
    CASE
        WHEN is_final.usage THEN measured.micro_mb
        WHEN known.history_days > 0
            THEN div(
                2 * %(safety_percent)s * (
                    measured.micro_mb * 1048576000000
                    + coalesce(history.weighted_usage, 0) * 1000000
                    + greatest(0, measured.micro_mb - cycle_so_far.micro_mb) * known.last_weight * 1048576
                ) + 104857600000000,
                209715200000000
            )
        ELSE div(
            2 * measured.micro_mb * %(numerator)s::numeric + %(denominator)s::numeric, 2 * %(denominator)s::numeric
        )
    END * 0.000001,
    sim.sms_usage,
    CASE
        WHEN activated.is_within
            THEN least(
                greatest(ceil(extract(EPOCH FROM sim.cycle_end - sim.date_activated) / 86400), 1),
                %(days_in_period)s
            )
        ELSE %(days_in_period)s
    END,
    activated.is_within AND %(uses_proration)s,
    CASE WHEN is_final.usage THEN 0 ELSE known.history_days END
FROM amop.eligible_device(%(service_provider_id)s, %(billing_period_id)s, %(usage_as_of)s) AS sim
INNER JOIN (
    SELECT
        member_of.id AS comm_group_id,
        unnest(member_of.communication_plans) AS communication_plan
    FROM amop.optimization_comm_group AS member_of
    WHERE member_of.instance_id = %(instance_id)s
) AS comm_group ON sim.communication_plan = comm_group.communication_plan
LEFT JOIN amop.carrier_rate_plan AS plan
    ON plan.service_provider_id = %(service_provider_id)s AND sim.rate_plan = plan.rate_plan_code
LEFT JOIN usage_history AS history ON sim.device_id = history.device_id
CROSS JOIN LATERAL (
    SELECT
        (sim.data_usage / 1048576 * 1000000::numeric)
        + (mod(sim.data_usage, 1048576) * 1000000 + 524288) / 1048576 AS micro_mb
) AS measured
CROSS JOIN LATERAL (
    SELECT
        sim.date_activated IS NOT NULL
        AND sim.date_activated >= sim.cycle_start
        AND sim.date_activated < sim.cycle_end AS is_within
) AS activated
CROSS JOIN LATERAL (
    SELECT
        coalesce(
            sim.status = any(%(unprojected_statuses)s::text[])
            OR sim.last_usage_date < sim.cycle_start
            OR sim.last_usage_date >= sim.cycle_end,
            false
        ) AS usage
) AS is_final
CROSS JOIN LATERAL (
    SELECT div(2 * coalesce(history.cycle_usage, 0) * 1000000 + 1048576, 2097152) AS micro_mb
) AS cycle_so_far
CROSS JOIN LATERAL (
    SELECT
        CASE
            WHEN sim.date_activated IS NULL OR cardinality(%(begins_at)s::timestamptz[]) = 0 THEN 0
            ELSE width_bucket(sim.date_activated - interval '1 microsecond', %(begins_at)s::timestamptz[])
        END AS number
) AS first_day
CROSS JOIN LATERAL (
    SELECT
        CASE
            WHEN (%(history_days)s::bigint[])[first_day.number + 1] >= %(fewest_days)s
                THEN (%(history_days)s::bigint[])[first_day.number + 1]
            ELSE 0
        END AS history_days,
        (%(last_weights)s::bigint[])[first_day.number + 1] AS last_weight
) AS known
WHERE sim.data_usage <= %(largest_usage_mb)s * 1048576::bigint AND sim.sms_usage <= %(largest_sms_usage)s
ON CONFLICT (instance_id, device_id) DO NOTHING
