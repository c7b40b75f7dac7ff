-- Purpose: write what became of an approved plan change at the carrier.
-- Parameters: change_id, state (applied, conflict or failed), error (text or null), now.
-- Locks: the row.
-- Repeatable: a change that is no longer approved is left alone.
UPDATE amop.rate_plan_change
SET
    state = %(state)s,
    error = %(error)s,
    applied_at = CASE WHEN %(state)s = 'applied' THEN %(now)s::timestamptz END
WHERE id = %(change_id)s AND state = 'approved'
