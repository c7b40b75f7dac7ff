-- Purpose: delete the undecided plan changes of an instance before they are proposed again.
-- Parameters: instance_id.
-- Locks: the deleted rows.
-- Repeatable: yes; changes that were decided stay.
DELETE FROM amop.rate_plan_change
WHERE instance_id = %(instance_id)s AND state = 'proposed'
