-- Purpose: move the work row of a bulk usage read to the next page after a page is staged.
-- Parameters: work_row_id, page_number (of the page just staged).
-- Locks: the work row.
-- Repeatable: only the page that was due advances the row.
UPDATE amop.device_usage_to_process
SET page_number = page_number + 1, attempts = 0
WHERE id = %(work_row_id)s AND page_number = %(page_number)s
