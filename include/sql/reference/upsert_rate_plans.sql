-- Purpose: insert the rate plans of a reference file and update those that differ.
-- Parameters: entries (jsonb array with an object per rate plan, money and megabytes as text).
-- Locks: the written rows.
-- Repeatable: an unchanged rate plan is not written and not returned.
INSERT INTO amop.carrier_rate_plan AS stored (
    service_provider_id,
    rate_plan_code,
    version,
    rate_charge,
    base_rate,
    plan_mb,
    overage_rate,
    data_per_overage_charge,
    sms_rate,
    allows_sim_pooling,
    pool,
    is_shared,
    is_retired
)
SELECT
    entry.service_provider_id,
    entry.rate_plan_code,
    entry.version,
    entry.rate_charge,
    entry.base_rate,
    entry.plan_mb,
    entry.overage_rate,
    entry.data_per_overage_charge,
    entry.sms_rate,
    entry.allows_sim_pooling,
    entry.pool,
    entry.is_shared,
    entry.is_retired
FROM
    jsonb_to_recordset(%(entries)s::jsonb)
        AS entry (
            service_provider_id bigint,
            rate_plan_code text,
            version integer,
            rate_charge numeric,
            base_rate numeric,
            plan_mb numeric,
            overage_rate numeric,
            data_per_overage_charge numeric,
            sms_rate numeric,
            allows_sim_pooling boolean,
            pool text,
            is_shared boolean,
            is_retired boolean
        )
ON CONFLICT (service_provider_id, rate_plan_code) DO UPDATE
    SET
        version = excluded.version,
        rate_charge = excluded.rate_charge,
        base_rate = excluded.base_rate,
        plan_mb = excluded.plan_mb,
        overage_rate = excluded.overage_rate,
        data_per_overage_charge = excluded.data_per_overage_charge,
        sms_rate = excluded.sms_rate,
        allows_sim_pooling = excluded.allows_sim_pooling,
        pool = excluded.pool,
        is_shared = excluded.is_shared,
        is_retired = excluded.is_retired
    WHERE
    (
        stored.version, stored.rate_charge, stored.base_rate, stored.plan_mb, stored.overage_rate,
        stored.data_per_overage_charge, stored.sms_rate, stored.allows_sim_pooling, stored.pool,
        stored.is_shared, stored.is_retired
    ) IS DISTINCT FROM (
        excluded.version, excluded.rate_charge, excluded.base_rate, excluded.plan_mb, excluded.overage_rate,
        excluded.data_per_overage_charge, excluded.sms_rate, excluded.allows_sim_pooling, excluded.pool,
        excluded.is_shared, excluded.is_retired
    )
RETURNING stored.xmax = 0 AS was_inserted
