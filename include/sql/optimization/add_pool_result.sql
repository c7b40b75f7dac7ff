-- Purpose: what one pool adds to the bill of the present or of the solved plans.
-- Parameters: instance_id, assignment (current or solved), and every column of the row.
-- Locks: the new row.
-- Repeatable: after delete_pool_results, in one transaction.
INSERT INTO amop.optimization_pool_result (
    instance_id, assignment, pool_number, pool_name, comm_group_key, overage_rate, data_per_overage_charge,
    device_count, usage_mb, included_mb, overage_mb, overage_blocks, overage_cost
)
VALUES (
    %(instance_id)s, %(assignment)s, %(pool_number)s, %(pool_name)s, %(comm_group_key)s, %(overage_rate)s,
    %(data_per_overage_charge)s, %(device_count)s, %(usage_mb)s, %(included_mb)s, %(overage_mb)s, %(overage_blocks)s,
    %(overage_cost)s
)
