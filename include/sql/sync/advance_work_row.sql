-- Purpose: a page of a bulk usage read is staged; the next one is due.
-- Parameters: work_row_id, page_number (the page that was just staged).
-- Locks: the work row.
-- Repeatable: only the page that was due moves the row on.
UPDATE amop.device_usage_to_process
SET page_number = page_number + 1
WHERE id = %(work_row_id)s AND page_number = %(page_number)s
