-- Purpose: write what was decided on the plan changes of an instance.
-- Parameters: instance_id, status, reason, decided_by (text or null = kept), deadline (timestamptz or null = kept),
--   planned_by (text or null = kept), now.
-- Locks: the instance's row.
-- Repeatable: the same decision again writes the same, with a later moment.
UPDATE amop.optimization_instance
SET
    changes_status = %(status)s,
    changes_reason = %(reason)s,
    changes_decided_by = coalesce(%(decided_by)s::text, changes_decided_by),
    changes_decided_at = %(now)s,
    changes_deadline = coalesce(%(deadline)s::timestamptz, changes_deadline),
    changes_planned_by = coalesce(%(planned_by)s::text, changes_planned_by)
WHERE id = %(instance_id)s
