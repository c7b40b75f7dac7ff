-- Purpose: insert the ledger row of a list page, in the transaction that stages its devices.
-- Parameters: run_id, scan_pass, page_number (counted across windows), device_count, is_last_page (of the list),
--   is_gap, next_after, now.
-- Locks: none beyond the new row.
-- Repeatable: a page that is already in the ledger raises a unique violation, so it cannot be staged twice.
INSERT INTO amop.device_sync_page (
    run_id, scan_pass, page_number, device_count, is_last_page, is_gap, next_after, received_at
)
VALUES (
    %(run_id)s, %(scan_pass)s, %(page_number)s, %(device_count)s, %(is_last_page)s, %(is_gap)s, %(next_after)s, %(now)s
)
