-- Purpose: write one comm group of an instance.
-- Parameters: instance_id, group_key, rate_plan_ids, communication_plans, device_count.
-- Locks: the new row.
-- Repeatable: yes; there is one row per key.
INSERT INTO amop.optimization_comm_group (instance_id, group_key, rate_plan_ids, communication_plans, device_count)
VALUES (%(instance_id)s, %(group_key)s, %(rate_plan_ids)s, %(communication_plans)s, %(device_count)s)
ON CONFLICT (instance_id, group_key) DO NOTHING
