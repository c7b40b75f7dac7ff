-- Purpose: take back proposals of an instance that nobody has decided on, before they are written again.
-- Parameters: instance_id.
-- Locks: the rows.
-- Repeatable: deleting nothing is no error; decided changes stay.
DELETE FROM amop.rate_plan_change
WHERE instance_id = %(instance_id)s AND state = 'proposed'
