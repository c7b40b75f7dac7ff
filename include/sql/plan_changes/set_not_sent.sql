-- Purpose: record that a plan change in doubt has not reached the carrier, as if it had never been sent.
-- Parameters: change_id.
-- Locks: the row.
-- Repeatable: yes.
UPDATE amop.rate_plan_change
SET sent_at = NULL, doubt_since = NULL
WHERE id = %(change_id)s AND state = 'approved'
