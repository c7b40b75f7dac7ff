-- Purpose: return the plans that the SIMs of an instance had left within its period, each column as one array, in the
--   order of SIM and time. Data in 1e-6 MB.
-- Parameters: instance_id.
-- Locks: none, reads only.
-- Repeatable: yes.
SELECT
    array_agg(part.device_id ORDER BY part.device_id, part.left_at) AS device_id,
    array_agg(part.rate_plan_id ORDER BY part.device_id, part.left_at) AS rate_plan_id,
    array_agg(part.days::bigint ORDER BY part.device_id, part.left_at) AS days,
    array_agg((part.usage_mb * 1000000)::bigint ORDER BY part.device_id, part.left_at) AS usage_micro_mb,
    array_agg(part.sms_usage ORDER BY part.device_id, part.left_at) AS sms_usage
FROM amop.optimization_left_plan AS part
WHERE part.instance_id = %(instance_id)s
