-- Purpose: record that a plan change in doubt has not reached the carrier: it is to be sent after a read of its SIM.
-- Parameters: change_id.
-- Locks: the row.
-- Repeatable: yes.
UPDATE amop.rate_plan_change
SET sent_at = NULL, doubt_since = NULL, is_read_first = true
WHERE id = %(change_id)s AND state = 'approved'
