-- Purpose: find SIMs that were moved to other equipment lately, with what they cost from now to the period's end: their
--   part of the charges, and the overage of the rest of their own projection.
-- Parameters: changed_since (timestamptz), days_left, days_in_period. Needs finding_sim and finding_candidate.
-- Locks: none; writes a temporary table.
-- Repeatable: in another transaction.
INSERT INTO finding_candidate (kind, subject, occurrence, device_id, amount, facts)
SELECT
    'imei_changed',
    sim.iccid,
    to_char(change.changed_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS'),
    sim.device_id,
    coalesce(
        plan.rate_charge * least(1, %(days_left)s::numeric / %(days_in_period)s::numeric)
        + amop.overage_cost(sim.projected_mb, sim.allowance_mb, plan.data_per_overage_charge, plan.overage_rate)
        - amop.overage_cost(sim.used_mb, sim.allowance_mb, plan.data_per_overage_charge, plan.overage_rate),
        0
    ),
    jsonb_build_object(
        'from_imei', change.from_imei,
        'to_imei', change.to_imei,
        'changed_on', to_char(change.changed_at AT TIME ZONE 'UTC', 'YYYY-MM-DD')
    )
FROM (
    SELECT DISTINCT ON (recent.device_id) recent.*
    FROM amop.device_imei_change AS recent
    WHERE recent.changed_at >= %(changed_since)s::timestamptz
    ORDER BY recent.device_id ASC, recent.changed_at DESC
) AS change
INNER JOIN finding_sim AS sim ON change.device_id = sim.device_id
LEFT JOIN amop.carrier_rate_plan AS plan ON sim.rate_plan_id = plan.id
