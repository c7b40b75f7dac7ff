-- Purpose: replays whose process was killed and never came back.
-- Parameters: started_before, now.
-- Locks: the rows that change.
-- Repeatable: only a running one is ended.
UPDATE amop.device_sync_run
SET status = 'failed', error = 'the replay was killed and not run again', ended_at = %(now)s
WHERE status = 'running' AND replayed_run_id IS NOT NULL AND started_at < %(started_before)s
