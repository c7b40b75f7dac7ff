-- Purpose: list the reports that could not be delivered yet.
-- Parameters: row_limit.
-- Locks: none beyond reading.
-- Repeatable: reads only.
SELECT
    id,
    kind,
    run_id,
    instance_id,
    attempts,
    next_attempt_at,
    error
FROM amop.undelivered_report
ORDER BY id
LIMIT %(row_limit)s
