-- Purpose: store the solved cost and the number of plan changes without the cap on them, where the cap was reached.
-- Parameters: instance_id, uncapped_cost, uncapped_change_count.
-- Locks: the row.
-- Repeatable: yes.
UPDATE amop.optimization_instance
SET uncapped_cost = %(uncapped_cost)s, uncapped_change_count = %(uncapped_change_count)s
WHERE id = %(instance_id)s
