-- Purpose: return whether the carrier has answered any usage read of a run.
-- Parameters: run_id.
-- Locks: none beyond reading.
-- Repeatable: reads only.
SELECT
    EXISTS (SELECT 1 FROM amop.device_usage_staging WHERE run_id = %(run_id)s)
    OR EXISTS (
        SELECT 1 FROM amop.device_usage_processed
        WHERE run_id = %(run_id)s AND kind = 'rate_plan_usage' AND refusal IS NULL
    ) AS is_answered
