-- Purpose: add a warning to an instance.
-- Parameters: instance_id, warning.
-- Locks: the row.
-- Repeatable: yes; a warning is added once.
UPDATE amop.optimization_instance
SET warning = concat_ws(E'\n', warning, %(warning)s::text)
WHERE id = %(instance_id)s AND position(%(warning)s::text IN coalesce(warning, '')) = 0
