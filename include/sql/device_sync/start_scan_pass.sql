-- Purpose: read the device list again, from a given page.
-- Parameters: run_id, scan_pass, scan_first_page, scan_duplicates (signature of the duplicates found).
-- Locks: the run's row.
-- Repeatable: writes the same values again.
UPDATE amop.device_sync_run
SET scan_pass = %(scan_pass)s, scan_first_page = %(scan_first_page)s, scan_duplicates = %(scan_duplicates)s
WHERE id = %(run_id)s
