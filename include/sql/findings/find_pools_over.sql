-- Purpose: find the pools whose projected usage is above their allowance, with the overage.
-- Parameters: billing_period_id, days_left. Needs finding_pool and finding_candidate.
-- Locks: none; writes a temporary table.
-- Repeatable: in another transaction.
INSERT INTO finding_candidate (kind, subject, occurrence, device_id, amount, facts)
SELECT
    'pool_over',
    pool.pool_name,
    %(billing_period_id)s::bigint::text,
    NULL,
    pool.overage_cost,
    jsonb_build_object(
        'sims', pool.sims,
        'used_mb', round(pool.used_mb, 6)::text,
        'projected_mb', round(pool.projected_mb, 6)::text,
        'allowance_mb', round(pool.allowance_mb, 6)::text,
        'days_until_empty', CASE
            WHEN pool.used_mb >= pool.allowance_mb THEN '0'
            ELSE round(
                (pool.allowance_mb - pool.used_mb) / (pool.projected_mb - pool.used_mb) * %(days_left)s::numeric, 1
            )::text
        END
    )
FROM finding_pool AS pool
WHERE pool.overage_cost > 0
