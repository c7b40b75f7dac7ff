-- Purpose: remove a report that was delivered, or that can no longer be.
-- Parameters: report_id.
-- Locks: the report's row.
-- Repeatable: deleting it twice changes nothing.
DELETE FROM amop.undelivered_report
WHERE id = %(report_id)s
