-- Purpose: assign rate plans to communication plans as a reference file states.
-- Parameters: entries (jsonb array of service_provider_id, communication_plan, rate_plan_code).
-- Locks: the new rows only.
-- Repeatable: a stored pair is not changed and not returned.
INSERT INTO amop.communication_plan_rate_plan (communication_plan_id, carrier_rate_plan_id)
SELECT
    communication_plan.id AS communication_plan_id,
    rate_plan.id AS carrier_rate_plan_id
FROM
    jsonb_to_recordset(%(entries)s::jsonb)
        AS entry (
            service_provider_id bigint,
            communication_plan text,
            rate_plan_code text
        )
INNER JOIN amop.communication_plan AS communication_plan
    ON
        entry.service_provider_id = communication_plan.service_provider_id
        AND entry.communication_plan = communication_plan.name
INNER JOIN amop.carrier_rate_plan AS rate_plan
    ON
        entry.service_provider_id = rate_plan.service_provider_id
        AND entry.rate_plan_code = rate_plan.rate_plan_code
ON CONFLICT (communication_plan_id, carrier_rate_plan_id) DO NOTHING
RETURNING true AS was_inserted
