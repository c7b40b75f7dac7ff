-- Purpose: return the number of excluded SIMs of an instance by reason.
-- Parameters: instance_id.
-- Locks: none, reads only.
-- Repeatable: yes.
SELECT
    reason,
    count(*) AS device_count
FROM amop.optimization_device_excluded
WHERE instance_id = %(instance_id)s
GROUP BY reason
ORDER BY device_count DESC, reason ASC
