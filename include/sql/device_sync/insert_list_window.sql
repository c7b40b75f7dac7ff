-- Purpose: insert a window in which a run reads its device list.
-- Parameters: run_id, window_number (from 1), modified_since, modified_till (null = open), first_page (null = not
--   known).
-- Locks: none beyond the new row.
-- Repeatable: a window is inserted once.
INSERT INTO amop.device_list_window (run_id, window_number, modified_since, modified_till, first_page)
VALUES (%(run_id)s, %(window_number)s, %(modified_since)s, %(modified_till)s, %(first_page)s)
