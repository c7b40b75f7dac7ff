-- Purpose: write the plans that the billed SIMs of an instance had left within its period, where a plan change counts
--   from its day: days of the period (the day of a change is one of the new plan), and usage of the local days before
--   the change. Changes after the one that led to the present plan of the inputs are not in them yet. A plan that is
--   not in the reference data or has no valid price is not billed: its days are those of the present plan.
-- Parameters: instance_id, billing_period_id, cycle_start, cycle_end, time_zone, days_in_period.
-- Locks: the new rows.
-- Repeatable: yes, in one transaction with add_devices; an existing row stays as it is.
INSERT INTO amop.optimization_left_plan (instance_id, device_id, left_at, rate_plan_id, days, usage_mb, sms_usage)
WITH change AS (
    SELECT
        sim.device_id,
        moved.from_rate_plan,
        moved.changed_at,
        (moved.changed_at AT TIME ZONE %(time_zone)s)::date AS changed_on,
        sim.usage_mb,
        sim.sms_usage,
        billed.days AS billed_days,
        least(
            billed.days, greatest(ceil(extract(EPOCH FROM %(cycle_end)s::timestamptz - moved.changed_at) / 86400), 1)
        ) AS days_left,
        bool_or(moved.to_rate_plan = sim.current_rate_plan) OVER (
            PARTITION BY sim.device_id ORDER BY moved.changed_at DESC
        ) AS leads_to_present_plan
    FROM amop.optimization_device AS sim
    INNER JOIN amop.device_plan_change AS moved ON sim.device_id = moved.device_id
    CROSS JOIN LATERAL (
        SELECT CASE WHEN sim.is_prorated THEN sim.days_activated ELSE %(days_in_period)s END AS days
    ) AS billed
    WHERE
        sim.instance_id = %(instance_id)s
        AND sim.is_billed
        AND moved.changed_at > %(cycle_start)s
        AND moved.changed_at < %(cycle_end)s
),

part AS (
    SELECT
        change.device_id,
        change.from_rate_plan,
        change.changed_at,
        coalesce(lag(change.days_left) OVER by_time, change.billed_days) - change.days_left AS days,
        least(used.mb, change.usage_mb) - coalesce(lag(least(used.mb, change.usage_mb)) OVER by_time, 0) AS usage_mb,
        least(used.sms_usage, change.sms_usage)
        - coalesce(lag(least(used.sms_usage, change.sms_usage)) OVER by_time, 0) AS sms_usage
    FROM change
    CROSS JOIN LATERAL (
        SELECT
            div(coalesce(sum(usage.data_usage), 0) * 2000000 + 1048576, 2097152) * 0.000001 AS mb,
            coalesce(sum(usage.sms_usage), 0) AS sms_usage
        FROM amop.device_usage AS usage
        WHERE
            usage.device_id = change.device_id
            AND usage.billing_period_id = %(billing_period_id)s
            AND usage.usage_date < change.changed_on
    ) AS used
    WHERE change.leads_to_present_plan
    WINDOW by_time AS (PARTITION BY change.device_id ORDER BY change.changed_at)
)

SELECT
    %(instance_id)s,
    part.device_id,
    part.changed_at,
    plan.id,
    part.days,
    part.usage_mb,
    part.sms_usage
FROM part
INNER JOIN amop.carrier_rate_plan AS plan
    ON
        part.from_rate_plan = plan.rate_plan_code
        AND plan.service_provider_id = (
            SELECT device.service_provider_id FROM amop.device AS device WHERE device.id = part.device_id
        )
WHERE part.days > 0 AND plan.overage_rate > 0 AND plan.data_per_overage_charge > 0
ON CONFLICT (instance_id, device_id, left_at) DO NOTHING
