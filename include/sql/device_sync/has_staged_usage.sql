-- Purpose: return whether the usage that a run staged still exists; without it the zones of a SIM cannot be summed.
-- Parameters: run_id.
-- Locks: none beyond reading.
-- Repeatable: reads only.
SELECT EXISTS(SELECT 1 FROM amop.device_usage_staging WHERE run_id = %(run_id)s) AS is_staged
