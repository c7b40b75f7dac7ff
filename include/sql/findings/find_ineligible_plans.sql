-- Purpose: find SIMs on a rate plan that their communication plan does not allow, with what the cheapest plan that it
--   does allow would save: each plan on its own with its own allowance, for the projected usage. Communication plans
--   without any rate plan are not among them; the optimization reports those.
-- Parameters: service_provider_id. Needs finding_sim and finding_candidate.
-- Locks: none; writes a temporary table.
-- Repeatable: in another transaction.
INSERT INTO finding_candidate (kind, subject, occurrence, device_id, amount, facts)
SELECT
    'ineligible_plan',
    sim.iccid,
    sim.communication_plan || ' | ' || coalesce(sim.rate_plan, ''),
    sim.device_id,
    greatest(0, coalesce(present.cost - cheapest.cost, 0)),
    jsonb_build_object(
        'rate_plan', sim.rate_plan,
        'communication_plan', sim.communication_plan,
        'cheapest_plan', cheapest.rate_plan_code
    )
FROM finding_sim AS sim
INNER JOIN amop.communication_plan AS communication
    ON communication.service_provider_id = %(service_provider_id)s AND sim.communication_plan = communication.name
LEFT JOIN LATERAL (
    SELECT
        plan.rate_charge * sim.billed_share + plan.base_rate + plan.sms_rate * sim.sms_usage
        + amop.overage_cost(sim.projected_mb, plan.plan_mb, plan.data_per_overage_charge, plan.overage_rate) AS cost
    FROM amop.carrier_rate_plan AS plan
    WHERE plan.id = sim.rate_plan_id
) AS present ON true
CROSS JOIN LATERAL (
    SELECT
        plan.rate_plan_code,
        plan.rate_charge * sim.billed_share + plan.base_rate + plan.sms_rate * sim.sms_usage
        + amop.overage_cost(sim.projected_mb, plan.plan_mb, plan.data_per_overage_charge, plan.overage_rate) AS cost
    FROM amop.communication_plan_rate_plan AS mapping
    INNER JOIN amop.carrier_rate_plan AS plan ON mapping.carrier_rate_plan_id = plan.id
    WHERE mapping.communication_plan_id = communication.id AND NOT plan.is_retired
    ORDER BY cost, plan.rate_plan_code
    LIMIT 1
) AS cheapest
WHERE
    sim.is_activated
    AND NOT EXISTS (
        SELECT 1 FROM amop.communication_plan_rate_plan AS allowed
        WHERE allowed.communication_plan_id = communication.id AND allowed.carrier_rate_plan_id = sim.rate_plan_id
    )
