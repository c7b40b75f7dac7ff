-- Purpose: return the communication plans of a provider with the rate plans that they allow and their eligible SIMs
--   (SIMs retired within an open period keep their plans and do not count). A plan that SIMs are on and that is not
--   mapped has no rate plans; SIMs without a communication plan have the name ''. Retired rate plans are omitted.
-- Parameters: service_provider_id, billing_period_id, usage_as_of.
-- Locks: none, reads only.
-- Repeatable: yes.
WITH known AS (
    SELECT
        communication.name,
        array_agg(plan.id) FILTER (WHERE plan.id IS NOT NULL) AS rate_plan_ids
    FROM amop.communication_plan AS communication
    LEFT JOIN amop.communication_plan_rate_plan AS mapping ON communication.id = mapping.communication_plan_id
    LEFT JOIN amop.carrier_rate_plan AS plan ON mapping.carrier_rate_plan_id = plan.id AND NOT plan.is_retired
    WHERE communication.service_provider_id = %(service_provider_id)s
    GROUP BY communication.name
),

used AS (
    SELECT
        communication_plan AS name,
        count(*) AS device_count
    FROM amop.eligible_device(%(service_provider_id)s, %(billing_period_id)s, %(usage_as_of)s)
    WHERE upper(status) IS DISTINCT FROM 'RETIRED' OR cycle_end <= %(usage_as_of)s
    GROUP BY communication_plan
)

SELECT
    coalesce(known.name, used.name) AS name,
    coalesce(known.rate_plan_ids, '{}') AS rate_plan_ids,
    coalesce(used.device_count, 0) AS device_count
FROM known
FULL JOIN used ON known.name = used.name
ORDER BY name
