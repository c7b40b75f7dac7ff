-- Purpose: remove the rate plans that a reference file no longer assigns to a provider's communication plans.
-- Parameters: service_provider_ids (bigint[], providers whose mapping is in the file), entries (jsonb array of
--   service_provider_id, communication_plan, rate_plan_code).
-- Locks: the deleted rows.
-- Repeatable: deletes nothing the second time.
DELETE FROM amop.communication_plan_rate_plan AS stored
USING amop.communication_plan AS communication_plan, amop.carrier_rate_plan AS rate_plan
WHERE
    stored.communication_plan_id = communication_plan.id
    AND stored.carrier_rate_plan_id = rate_plan.id
    AND communication_plan.service_provider_id = any(%(service_provider_ids)s::bigint[])
    AND NOT EXISTS (
        SELECT 1
        FROM
            jsonb_to_recordset(%(entries)s::jsonb)
                AS entry (
                    service_provider_id bigint,
                    communication_plan text,
                    rate_plan_code text
                )
        WHERE
            entry.service_provider_id = communication_plan.service_provider_id
            AND entry.communication_plan = communication_plan.name
            AND entry.rate_plan_code = rate_plan.rate_plan_code
    )
