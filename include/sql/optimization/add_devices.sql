-- Purpose: write the inputs of an instance, one row per eligible SIM: usage, projected usage and billed days.
--   All arithmetic is exact: 1e-6 MB in integers, rounded half up; `div` truncates, so 2n + d over 2d rounds.
--   A SIM's usage is projected unless its status is final or its last usage is outside the cycle (the rule is in
--   amop.optimization.forecast): from its usage days if it has enough of them (amop.optimization.usage_history), else
--   by the factor.
-- Parameters: instance_id, service_provider_id, billing_period_id, usage_as_of, uses_proration, days_in_period,
--   numerator and denominator (the projection factor; 1/1 leaves usage unchanged), unprojected_statuses (text[]);
--   of the usage history (create_usage_history runs before): begins_at (timestamptz[]) of the usage days, history_days
--   and last_weights (bigint[], one more than days: number of days that count, and weight of the last day in 1e-6, for
--   a SIM whose first day is number 0, 1, …), fewest_days, safety_percent (101); largest_usage_mb and
--   largest_sms_usage: a SIM above them has a broken counter and is excluded; placed (text[], outcomes of the placed
--   groups). A SIM that may not be moved has a kept_reason; a placed SIM keeps its plan for now (change_limit) while a
--   change of it is in doubt, and by the limits of provider and carrier: cycle_start, cycle_end,
--   maximum_changes_per_sim, maximum_changes_per_month (of the carrier, in a month of time_zone; null = no limit),
--   minimum_days_on_plan; counts_from_change: a plan change counts from its day, so that later messages are forecast.
-- Locks: the new rows.
-- Repeatable: yes, in one transaction with set_device_counts; an existing row stays as it is.
INSERT INTO amop.optimization_device (
    instance_id, device_id, comm_group_id, iccid, current_rate_plan, current_rate_plan_id, usage_mb,
    projected_usage_mb, sms_usage, later_sms_usage, days_activated, is_prorated, history_days, sms_is_read, kept_reason,
    change_limit, is_billed, plan_is_applied
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
        WHEN is_final.usage OR NOT %(counts_from_change)s THEN 0
        ELSE
            div(2 * sim.sms_usage * %(numerator)s::numeric + %(denominator)s::numeric, 2 * %(denominator)s::numeric)
            - sim.sms_usage
    END,
    CASE
        WHEN activated.is_within
            THEN least(
                greatest(ceil(extract(EPOCH FROM sim.cycle_end - sim.date_activated) / 86400), 1),
                %(days_in_period)s
            )
        ELSE %(days_in_period)s
    END,
    activated.is_within AND %(uses_proration)s,
    CASE WHEN is_final.usage THEN 0 ELSE known.history_days END,
    sim.sms_is_read,
    kept.reason,
    CASE
        WHEN kept.reason IS NOT NULL OR plan.id IS NULL THEN NULL
        WHEN since_list.is_in_doubt THEN 'change_in_doubt'
        WHEN
            coalesce(changed.period_changes, 0) >= %(maximum_changes_per_sim)s::bigint
            OR coalesce(changed.month_changes, 0) >= %(maximum_changes_per_month)s::bigint
            THEN 'maximum_changes_per_sim'
        WHEN changed.last_changed_at > %(usage_as_of)s - make_interval(days => %(minimum_days_on_plan)s)
            THEN 'minimum_days_on_plan'
    END,
    kept.reason IS NULL OR coalesce(plan.overage_rate > 0 AND plan.data_per_overage_charge > 0, false),
    coalesce(since_list.rate_plan = sim.rate_plan, false)
FROM amop.eligible_device(%(service_provider_id)s, %(billing_period_id)s, %(usage_as_of)s) AS sim
INNER JOIN (
    SELECT
        member_of.id AS comm_group_id,
        member_of.outcome = any(%(placed)s::text[]) AS is_placed,
        unnest(member_of.communication_plans) AS communication_plan,
        coalesce((
            SELECT bool_or(offered.sms_rate = 0) FROM amop.carrier_rate_plan AS offered
            WHERE offered.id = any(member_of.rate_plan_ids)
        ), false) AS has_plan_without_sms_price
    FROM amop.optimization_comm_group AS member_of
    WHERE member_of.instance_id = %(instance_id)s
) AS comm_group ON sim.communication_plan = comm_group.communication_plan
LEFT JOIN amop.carrier_rate_plan AS plan
    ON plan.service_provider_id = %(service_provider_id)s AND sim.rate_plan = plan.rate_plan_code
LEFT JOIN usage_history AS history ON sim.device_id = history.device_id
LEFT JOIN amop.plan_since_list(%(service_provider_id)s, %(cycle_end)s) AS since_list
    ON sim.device_id = since_list.device_id
LEFT JOIN (
    SELECT
        change.device_id,
        count(*) FILTER (WHERE change.changed_at >= %(cycle_start)s AND change.changed_at < %(cycle_end)s)
            AS period_changes,
        count(*) FILTER (WHERE change.changed_at >= date_trunc('month', %(usage_as_of)s::timestamptz, %(time_zone)s))
            AS month_changes,
        max(change.changed_at) FILTER (WHERE %(minimum_days_on_plan)s > 0) AS last_changed_at
    FROM amop.device_plan_change AS change
    INNER JOIN amop.device AS own
        ON change.device_id = own.id AND own.service_provider_id = %(service_provider_id)s
    WHERE
        %(maximum_changes_per_sim)s::bigint IS NOT NULL
        OR %(maximum_changes_per_month)s::bigint IS NOT NULL
        OR %(minimum_days_on_plan)s > 0
    GROUP BY change.device_id
) AS changed ON sim.device_id = changed.device_id
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
CROSS JOIN LATERAL (
    SELECT
        CASE
            WHEN upper(sim.status) = 'RETIRED' AND sim.cycle_end > %(usage_as_of)s THEN 'retired'
            WHEN comm_group.is_placed IS NOT TRUE THEN 'not_placed'
            WHEN NOT sim.sms_is_read AND (plan.sms_rate > 0 OR NOT comm_group.has_plan_without_sms_price)
                THEN 'sms_not_read'
        END AS reason
) AS kept
WHERE sim.data_usage <= %(largest_usage_mb)s * 1048576::bigint AND sim.sms_usage <= %(largest_sms_usage)s
ON CONFLICT (instance_id, device_id) DO NOTHING
