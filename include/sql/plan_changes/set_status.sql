-- Purpose: store the decision on the plan changes of an instance.
-- Parameters: instance_id, status, decision (text), reason (text: the decision and what becomes of the changes that
--   wait), decided_by (text or null = kept), deadline (timestamptz or null = kept), planned_by (text or null = kept),
--   now (timestamptz or null = the database's clock).
-- Locks: the instance's row.
-- Repeatable: yes; the same decision is stored again with a later moment.
UPDATE amop.optimization_instance
SET
    changes_status = %(status)s,
    changes_decision = %(decision)s,
    changes_reason = %(reason)s,
    changes_decided_by = coalesce(%(decided_by)s::text, changes_decided_by),
    changes_decided_at = coalesce(%(now)s::timestamptz, clock_timestamp()),
    changes_deadline = coalesce(%(deadline)s::timestamptz, changes_deadline),
    changes_planned_by = coalesce(%(planned_by)s::text, changes_planned_by)
WHERE id = %(instance_id)s
