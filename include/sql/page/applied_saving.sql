-- Purpose: return the bill of an instance before any change less the bill with its applied changes; null if it is not
--   known.
-- Parameters: instance_id.
-- Locks: none, reads only.
-- Repeatable: yes.
SELECT amop.applied_saving(%(instance_id)s) AS reached_saving
