-- Purpose: the ledger row of a page, written in the transaction that staged its devices.
-- Parameters: run_id, scan_pass, page_number, device_count, is_last_page, now.
-- Locks: none beyond the new row.
-- Repeatable: a page that is already in the ledger raises a unique violation, so that it cannot be staged twice.
INSERT INTO amop.device_sync_page (run_id, scan_pass, page_number, device_count, is_last_page, received_at)
VALUES (%(run_id)s, %(scan_pass)s, %(page_number)s, %(device_count)s, %(is_last_page)s, %(now)s)
