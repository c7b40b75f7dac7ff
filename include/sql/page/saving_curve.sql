-- Purpose: return the forecast saving that the first changes of an instance bring, in the order of sending.
-- Parameters: instance_id.
-- Locks: none, reads only.
-- Repeatable: yes.
SELECT
    change_count,
    saving
FROM amop.saving_curve
WHERE instance_id = %(instance_id)s
ORDER BY change_count
