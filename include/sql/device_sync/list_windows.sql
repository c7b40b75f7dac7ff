-- Purpose: return the windows in which a run reads its device list, oldest first.
-- Parameters: run_id.
-- Locks: none beyond reading.
-- Repeatable: reads only.
SELECT
    window_number,
    modified_since,
    modified_till,
    first_page
FROM amop.device_list_window
WHERE run_id = %(run_id)s
ORDER BY window_number
