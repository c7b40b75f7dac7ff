-- Purpose: the device list is read; its work row goes in the same transaction that queues what follows from it.
-- Parameters: run_id (bigint).
-- Locks: the work row.
-- Repeatable: deletes nothing the second time.
DELETE FROM amop.device_usage_to_process
WHERE run_id = %(run_id)s AND kind = 'device_list'
