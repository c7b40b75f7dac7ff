-- Purpose: record at which page of the list a window begins.
-- Parameters: run_id, window_number, first_page.
-- Locks: the window's row.
-- Repeatable: the first page is kept.
UPDATE amop.device_list_window
SET first_page = coalesce(first_page, %(first_page)s)
WHERE run_id = %(run_id)s AND window_number = %(window_number)s
