-- Purpose: record why the latest attempt to deliver a report failed.
-- Parameters: report_id, error.
-- Locks: the report's row.
-- Repeatable: writes the same value again.
UPDATE amop.undelivered_report
SET error = %(error)s
WHERE id = %(report_id)s
