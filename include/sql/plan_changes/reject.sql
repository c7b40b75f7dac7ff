-- Purpose: reject the proposed and approved plan changes of an instance, with the reason. A change in doubt (sent, no
--   answer yet) stays until the carrier is asked for the SIM's plan.
-- Parameters: instance_id, reason, decided_by, now.
-- Locks: the rows.
-- Repeatable: yes; rejecting no row is no error.
UPDATE amop.rate_plan_change
SET
    state = 'rejected',
    error = %(reason)s,
    decided_by = %(decided_by)s,
    decided_at = %(now)s
WHERE instance_id = %(instance_id)s AND state IN ('proposed', 'approved') AND sent_at IS NULL
