-- Purpose: record how far the list of modified SIMs was read while the plan changes of an instance are applied, or why
--   it is not used any more.
-- Parameters: instance_id, listed_at (timestamptz or null = kept), refusal (text or null = kept).
-- Locks: the instance's row.
-- Repeatable: yes.
UPDATE amop.optimization_instance
SET
    changes_listed_at = coalesce(%(listed_at)s::timestamptz, changes_listed_at),
    changes_list_refusal = coalesce(%(refusal)s::text, changes_list_refusal)
WHERE id = %(instance_id)s
