-- Purpose: return the rate plans that the eligible SIMs of some communication plans are on.
-- Parameters: service_provider_id, billing_period_id, usage_as_of, communication_plans (text[]).
-- Locks: none, reads only.
-- Repeatable: yes.
SELECT plan.id
FROM amop.carrier_rate_plan AS plan
WHERE
    plan.service_provider_id = %(service_provider_id)s
    AND plan.rate_plan_code IN (
        SELECT eligible.rate_plan
        FROM amop.eligible_device(%(service_provider_id)s, %(billing_period_id)s, %(usage_as_of)s) AS eligible
        WHERE eligible.communication_plan = any(%(communication_plans)s::text[])
    )
