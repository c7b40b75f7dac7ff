-- Purpose: delete the work row of the device list, in the transaction that queues the reads that follow from the list.
-- Parameters: run_id.
-- Locks: the work row.
-- Repeatable: deletes nothing the second time.
DELETE FROM amop.device_usage_to_process
WHERE run_id = %(run_id)s AND kind = 'device_list'
