-- Purpose: how many SIMs an instance left out for which reason.
-- Parameters: instance_id.
-- Locks: none beyond reading.
-- Repeatable: reads only.
SELECT
    reason,
    count(*) AS device_count
FROM amop.optimization_device_left_out
WHERE instance_id = %(instance_id)s
GROUP BY reason
ORDER BY device_count DESC, reason ASC
