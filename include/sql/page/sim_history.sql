-- Purpose: return the status and the plans of a SIM over time, newest first.
-- Parameters: device_id, maximum.
-- Locks: none, reads only.
-- Repeatable: yes.
SELECT
    valid_from,
    status,
    rate_plan,
    communication_plan
FROM amop.device_history
WHERE device_id = %(device_id)s
ORDER BY valid_from DESC
LIMIT %(maximum)s
