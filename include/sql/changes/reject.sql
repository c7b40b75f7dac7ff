-- Purpose: reject what is still proposed or approved of an instance's plan changes, with the reason. A change that is
--   in doubt (sent, no answer yet) is left to the process that asks the carrier about it.
-- Parameters: instance_id, reason, decided_by, now.
-- Locks: the rows.
-- Repeatable: rejecting nothing is no error.
UPDATE amop.rate_plan_change
SET
    state = 'rejected',
    error = %(reason)s,
    decided_by = %(decided_by)s,
    decided_at = %(now)s
WHERE instance_id = %(instance_id)s AND state IN ('proposed', 'approved') AND sent_at IS NULL
