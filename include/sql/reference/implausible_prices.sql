-- Purpose: return the prices and sizes of stored rate plans that a reference file would change by more than the
--   provider's factor, up or down. A price of 0 that becomes one is a new price; one that becomes 0 has fallen.
-- Parameters: entries (jsonb array with an object per rate plan, money and megabytes as text).
-- Locks: none, reads only.
-- Repeatable: yes.
SELECT
    provider.id AS service_provider_id,
    provider.name AS service_provider_name,
    plan.rate_plan_code,
    price.name AS field,
    price.stored AS stored_value,
    price.new AS new_value,
    provider.maximum_price_factor
FROM
    jsonb_to_recordset(%(entries)s::jsonb)
        AS entry (
            service_provider_id bigint,
            rate_plan_code text,
            rate_charge numeric,
            base_rate numeric,
            plan_mb numeric,
            overage_rate numeric,
            data_per_overage_charge numeric,
            sms_rate numeric
        )
INNER JOIN amop.carrier_rate_plan AS plan
    ON entry.service_provider_id = plan.service_provider_id AND entry.rate_plan_code = plan.rate_plan_code
INNER JOIN amop.service_provider AS provider ON plan.service_provider_id = provider.id
CROSS JOIN LATERAL (
    VALUES
    ('rate_charge', plan.rate_charge, entry.rate_charge),
    ('base_rate', plan.base_rate, entry.base_rate),
    ('plan_mb', plan.plan_mb, entry.plan_mb),
    ('overage_rate', plan.overage_rate, entry.overage_rate),
    ('data_per_overage_charge', plan.data_per_overage_charge, entry.data_per_overage_charge),
    ('sms_rate', plan.sms_rate, entry.sms_rate)
) AS price (name, stored, new)
WHERE
    price.stored > 0
    AND (
        price.new > price.stored * provider.maximum_price_factor
        OR price.new * provider.maximum_price_factor < price.stored
    )
ORDER BY provider.id, plan.rate_plan_code, price.name
