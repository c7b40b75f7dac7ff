-- Purpose: create a temporary table of the SIMs that the open period bills, with their plan, pool, allowance and usage;
--   projected_mb is usage so far and the daily rate of the history for the rest of the period.
-- Parameters: service_provider_id, billing_period_id, usage_as_of, uses_proration, prorates_allowance, pool_scope,
--   days_in_period, days_left, known_days (that the recent days and the history cover together; null = the rate is that
--   of the period so far), elapsed_days (of the period), megabyte (bytes). Needs
--   finding_usage.
-- Locks: none; a temporary table of this transaction.
-- Repeatable: in another transaction; the table is dropped on commit.
CREATE TEMPORARY TABLE finding_sim ON COMMIT DROP AS
WITH comm_group AS (
    SELECT
        communication.name,
        string_agg(mapping.carrier_rate_plan_id::text, ',' ORDER BY mapping.carrier_rate_plan_id) AS rate_plans
    FROM amop.communication_plan AS communication
    INNER JOIN amop.communication_plan_rate_plan AS mapping ON communication.id = mapping.communication_plan_id
    INNER JOIN amop.carrier_rate_plan AS allowed
        ON mapping.carrier_rate_plan_id = allowed.id AND NOT allowed.is_retired
    WHERE communication.service_provider_id = %(service_provider_id)s
    GROUP BY communication.name
)

SELECT
    sim.device_id,
    sim.iccid,
    sim.communication_plan,
    sim.rate_plan,
    sim.date_activated,
    sim.last_usage_date,
    sim.sms_usage,
    plan.id AS rate_plan_id,
    upper(sim.status) = 'ACTIVATED' AS is_activated,
    CASE
        WHEN plan.allows_sim_pooling THEN
            coalesce('pool ' || plan.pool, 'plan ' || plan.rate_plan_code)
            || CASE
                WHEN %(pool_scope)s = 'comm_group' THEN ' of plans ' || coalesce(comm_group.rate_plans, '')
                ELSE ''
            END
    END AS pool_name,
    billed.share AS billed_share,
    plan.plan_mb * CASE WHEN %(prorates_allowance)s THEN billed.share ELSE 1 END AS allowance_mb,
    used.mb AS used_mb,
    round(
        used.mb + CASE
            WHEN upper(sim.status) IN ('DEACTIVATED', 'RETIRED') THEN 0
            WHEN %(known_days)s::numeric IS NULL
                THEN used.mb / greatest(least(%(elapsed_days)s::numeric, active.days), 1) * %(days_left)s::numeric
            ELSE
                coalesce(usage.recent_bytes + usage.history_bytes, 0) / %(megabyte)s::numeric
                / greatest(least(%(known_days)s::numeric, active.days), 1) * %(days_left)s::numeric
        END,
        6
    ) AS projected_mb,
    coalesce(usage.recent_bytes, 0) / %(megabyte)s::numeric AS recent_mb,
    coalesce(usage.history_bytes, 0) / %(megabyte)s::numeric AS history_mb,
    coalesce(usage.history_squares, 0) / %(megabyte)s::numeric / %(megabyte)s::numeric AS history_squares,
    active.days AS days_active
FROM amop.eligible_device_of_open_period(%(service_provider_id)s, %(billing_period_id)s) AS sim
LEFT JOIN amop.carrier_rate_plan AS plan
    ON plan.service_provider_id = %(service_provider_id)s AND sim.rate_plan = plan.rate_plan_code
LEFT JOIN comm_group ON sim.communication_plan = comm_group.name
LEFT JOIN finding_usage AS usage ON sim.device_id = usage.device_id
CROSS JOIN LATERAL (SELECT sim.data_usage / %(megabyte)s::numeric AS mb) AS used
CROSS JOIN LATERAL (
    SELECT extract(EPOCH FROM %(usage_as_of)s::timestamptz - sim.date_activated) / 86400 AS days
) AS active
CROSS JOIN LATERAL (
    SELECT
        CASE
            WHEN
                %(uses_proration)s AND sim.date_activated >= sim.cycle_start AND sim.date_activated < sim.cycle_end
                THEN least(
                    greatest(ceil(extract(EPOCH FROM sim.cycle_end - sim.date_activated) / 86400), 1),
                    %(days_in_period)s::numeric
                ) / %(days_in_period)s::numeric
            ELSE 1
        END AS share
) AS billed
