-- Purpose: where the workbook of an instance is.
-- Parameters: instance_id, report_uri.
-- Locks: the instance's row.
-- Repeatable: the same address is written again.
UPDATE amop.optimization_instance
SET report_uri = %(report_uri)s
WHERE id = %(instance_id)s
