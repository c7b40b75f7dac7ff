-- Purpose: read the clock that all machines share.
-- Parameters: none.
-- Locks: none.
-- Repeatable: reads only.
SELECT clock_timestamp() AS present_time
