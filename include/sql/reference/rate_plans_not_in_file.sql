-- Purpose: list the stored rate plans of a reference file's providers that the file does not list.
-- Parameters: service_provider_ids (bigint[]), entries (jsonb array of service_provider_id, rate_plan_code).
-- Locks: none beyond reading.
-- Repeatable: reads only.
SELECT
    provider.id AS service_provider_id,
    provider.name AS service_provider_name,
    stored.rate_plan_code
FROM amop.carrier_rate_plan AS stored
INNER JOIN amop.service_provider AS provider ON stored.service_provider_id = provider.id
WHERE
    stored.service_provider_id = any(%(service_provider_ids)s::bigint[])
    AND NOT EXISTS (
        SELECT 1
        FROM jsonb_to_recordset(%(entries)s::jsonb) AS entry (service_provider_id bigint, rate_plan_code text)
        WHERE
            entry.service_provider_id = stored.service_provider_id
            AND entry.rate_plan_code = stored.rate_plan_code
    )
ORDER BY provider.id, stored.rate_plan_code
