-- Purpose: find active SIMs whose activation date is unknown although it decides on their charges: they were first
--   listed as ACTIVATED within the open period, after the provider's first sync, whose date says nothing about when
--   a SIM was activated. The money is the part of the charge before that, which is billed now and may not be due.
-- Parameters: billing_period_id, cycle_start, cycle_end, days_in_period. Needs finding_sim and finding_candidate; it
--   runs only where the provider prorates.
-- Locks: none; writes a temporary table.
-- Repeatable: in another transaction.
INSERT INTO finding_candidate (kind, subject, occurrence, device_id, amount, facts)
SELECT
    'unknown_activation',
    sim.iccid,
    %(billing_period_id)s::bigint::text,
    sim.device_id,
    plan.rate_charge * (%(days_in_period)s::integer - due.days) / %(days_in_period)s::integer,
    jsonb_build_object(
        'rate_plan', sim.rate_plan,
        'first_listed', to_char(first_active.since AT TIME ZONE 'UTC', 'YYYY-MM-DD'),
        'days_due', due.days,
        'days_in_period', %(days_in_period)s::integer
    )
FROM finding_sim AS sim
INNER JOIN amop.carrier_rate_plan AS plan ON sim.rate_plan_id = plan.id
CROSS JOIN (
    SELECT min(listed.as_of) AS synced_at
    FROM amop.device_history AS listed
    INNER JOIN finding_sim AS any_sim ON listed.device_id = any_sim.device_id
) AS first_sync
CROSS JOIN LATERAL (
    SELECT min(listed.as_of) AS since FROM amop.device_history AS listed
    WHERE listed.device_id = sim.device_id AND upper(listed.status) = 'ACTIVATED'
) AS first_active
CROSS JOIN LATERAL (
    SELECT ceil(extract(EPOCH FROM %(cycle_end)s::timestamptz - first_active.since) / 86400)::integer AS days
) AS due
WHERE
    sim.is_activated
    AND sim.date_activated IS NULL
    AND plan.rate_charge > 0
    AND first_active.since > first_sync.synced_at
    AND first_active.since > %(cycle_start)s::timestamptz
    AND first_active.since < %(cycle_end)s::timestamptz
    AND due.days < %(days_in_period)s::integer
