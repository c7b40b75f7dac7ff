-- Purpose: end a what-if with its figures.
-- Parameters: what_if_id, instance_id (the optimization that its SIMs are of), device_count, present_cost, today_cost,
--   today_bound, new_present_cost, new_cost, new_bound, changes, now.
-- Locks: the row.
-- Repeatable: yes.
UPDATE amop.what_if
SET
    status = 'complete',
    error = NULL,
    instance_id = %(instance_id)s,
    device_count = %(device_count)s,
    present_cost = %(present_cost)s,
    today_cost = %(today_cost)s,
    today_bound = %(today_bound)s,
    new_present_cost = %(new_present_cost)s,
    new_cost = %(new_cost)s,
    new_bound = %(new_bound)s,
    changes = %(changes)s,
    ended_at = %(now)s
WHERE id = %(what_if_id)s
