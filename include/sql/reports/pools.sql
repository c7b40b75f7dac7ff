-- Purpose: return for each pool its terms, its price in the proof, and its overage today and optimized.
-- Parameters: instance_id.
-- Locks: none, reads only.
-- Repeatable: yes.
SELECT
    coalesce(present.pool_name, solved.pool_name) AS pool_name,
    coalesce(present.comm_group_key, solved.comm_group_key) AS comm_group_key,
    coalesce(present.overage_rate, solved.overage_rate) AS overage_rate,
    coalesce(present.data_per_overage_charge, solved.data_per_overage_charge) AS data_per_overage_charge,
    (instance.certificate -> 'prices' ->> pool_number)::numeric
    / (instance.certificate ->> 'price_scale')::numeric AS price_per_mb,
    present.device_count AS from_device_count,
    present.usage_mb AS from_usage_mb,
    present.included_mb AS from_included_mb,
    present.overage_mb AS from_overage_mb,
    present.overage_blocks AS from_overage_blocks,
    present.overage_cost AS from_overage_cost,
    solved.device_count AS to_device_count,
    solved.usage_mb AS to_usage_mb,
    solved.included_mb AS to_included_mb,
    solved.overage_mb AS to_overage_mb,
    solved.overage_blocks AS to_overage_blocks,
    solved.overage_cost AS to_overage_cost
FROM (
    SELECT * FROM amop.optimization_pool_result
    WHERE instance_id = %(instance_id)s AND assignment = 'current'
) AS present
FULL JOIN (
    SELECT * FROM amop.optimization_pool_result
    WHERE instance_id = %(instance_id)s AND assignment = 'solved'
) AS solved USING (pool_number)
CROSS JOIN amop.optimization_instance AS instance
WHERE instance.id = %(instance_id)s
ORDER BY pool_number
