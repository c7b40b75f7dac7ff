-- Purpose: approve the proposed plan changes of an instance, without those that wait for a later one.
-- Parameters: instance_id, decided_by, now.
-- Locks: the rows.
-- Repeatable: yes; decided changes stay as they are.
UPDATE amop.rate_plan_change
SET
    state = 'approved',
    decided_by = %(decided_by)s,
    decided_at = %(now)s
WHERE instance_id = %(instance_id)s AND state = 'proposed' AND waits_reason IS NULL
