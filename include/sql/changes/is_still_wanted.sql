-- Purpose: may the approval of an instance's plan changes still be given: nobody has decided, no newer instance has
--   made them stale, and there is time left to apply all of them.
-- Parameters: instance_id, now.
-- Locks: none beyond reading.
-- Repeatable: reads only.
SELECT
    changes_status = 'waiting'
    AND amop.newer_instance(id) IS NULL
    AND (changes_deadline IS NULL OR changes_deadline > %(now)s) AS is_wanted
FROM amop.optimization_instance
WHERE id = %(instance_id)s
