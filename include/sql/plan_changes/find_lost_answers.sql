-- Purpose: put the plan changes of an instance in doubt whose write request was sent by a process that ended before it
--   recorded the answer. The request may still be on its way, so the doubt begins now.
-- Parameters: instance_id, now.
-- Locks: the rows.
-- Repeatable: yes; a change in doubt keeps its moment.
UPDATE amop.rate_plan_change
SET doubt_since = %(now)s, is_denied = false
WHERE instance_id = %(instance_id)s AND state = 'approved' AND sent_at IS NOT NULL AND doubt_since IS NULL
