-- Purpose: what one rate plan adds to the bill of the present or of the solved plans, and the prices it was made of.
-- Parameters: instance_id, assignment (current or solved), and every column of the row.
-- Locks: the new row.
-- Repeatable: after delete_rate_plan_results, in one transaction.
INSERT INTO amop.optimization_rate_plan_result (
    instance_id, assignment, rate_plan_code, pool_name, rate_charge, base_rate, plan_mb, overage_rate,
    data_per_overage_charge, sms_rate, device_count, usage_mb, included_mb, overage_mb, overage_blocks, charges,
    overage_cost, sms_cost, total_cost
)
VALUES (
    %(instance_id)s, %(assignment)s, %(rate_plan_code)s, %(pool_name)s, %(rate_charge)s, %(base_rate)s, %(plan_mb)s,
    %(overage_rate)s, %(data_per_overage_charge)s, %(sms_rate)s, %(device_count)s, %(usage_mb)s, %(included_mb)s,
    %(overage_mb)s, %(overage_blocks)s, %(charges)s, %(overage_cost)s, %(sms_cost)s, %(total_cost)s
)
