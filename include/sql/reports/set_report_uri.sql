-- Purpose: store the address of an instance's workbook.
-- Parameters: instance_id, report_uri.
-- Locks: the instance's row.
-- Repeatable: yes.
UPDATE amop.optimization_instance
SET report_uri = %(report_uri)s
WHERE id = %(instance_id)s
