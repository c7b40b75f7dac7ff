-- Purpose: store the outcome of an approved plan change at the carrier.
-- Parameters: change_id, state (applied, conflict, failed or rejected), error (text or null), now.
-- Locks: the row.
-- Repeatable: yes; a change that is no longer approved stays as it is.
UPDATE amop.rate_plan_change
SET
    state = %(state)s,
    error = %(error)s,
    applied_at = CASE WHEN %(state)s = 'applied' THEN %(now)s::timestamptz END
WHERE id = %(change_id)s AND state = 'approved'
