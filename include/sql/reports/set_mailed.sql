-- Purpose: record that the report of an instance was mailed, so that a repeated task does not mail it again.
-- Parameters: instance_id, now.
-- Locks: the instance's row.
-- Repeatable: yes; the first moment stays.
UPDATE amop.optimization_instance
SET report_mailed_at = %(now)s
WHERE id = %(instance_id)s AND report_mailed_at IS NULL
