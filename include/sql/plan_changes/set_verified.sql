-- Purpose: store which plan the carrier shows for an applied change; a plan other than the target is a conflict.
-- Parameters: change_id, rate_plan (text or null), error (text or null = the target plan), now.
-- Locks: the row.
-- Repeatable: yes; the latest reading stays.
UPDATE amop.rate_plan_change
SET
    verified_at = %(now)s,
    verified_rate_plan = %(rate_plan)s,
    state = CASE WHEN %(error)s::text IS NULL THEN state ELSE 'conflict' END,
    error = coalesce(%(error)s::text, error)
WHERE id = %(change_id)s AND state = 'applied'
