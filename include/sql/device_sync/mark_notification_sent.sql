-- Purpose: record that the queue message of a run was sent.
-- Parameters: run_id, now.
-- Locks: the run's row.
-- Repeatable: the first time is kept.
UPDATE amop.device_sync_run
SET notification_sent_at = coalesce(notification_sent_at, %(now)s)
WHERE id = %(run_id)s
