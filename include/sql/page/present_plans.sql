-- Purpose: return the rate plans of a provider that are not retired, by code.
-- Parameters: service_provider_id.
-- Locks: none, reads only.
-- Repeatable: yes.
SELECT
    rate_plan_code,
    rate_charge,
    base_rate,
    plan_mb,
    overage_rate,
    data_per_overage_charge,
    sms_rate,
    allows_sim_pooling,
    pool,
    NULL::text AS offered_like
FROM amop.carrier_rate_plan
WHERE service_provider_id = %(service_provider_id)s AND NOT is_retired
ORDER BY rate_plan_code
