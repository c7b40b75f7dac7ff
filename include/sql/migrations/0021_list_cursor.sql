-- Purpose: the place after which the next page of a device list begins, for carriers whose pages have no numbers.
-- Parameters: none.
-- Locks: device_sync_page, exclusively and briefly.
-- Repeatable: the migration ledger applies it once; every file is one transaction.
ALTER TABLE amop.device_sync_page ADD COLUMN next_after text;
COMMENT ON COLUMN amop.device_sync_page.next_after IS
'The carrier''s own mark of the place after this page, such as its last device id; null where pages have numbers.';
