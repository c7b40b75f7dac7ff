-- Purpose: record a check of the watchdog. After a gap its watch starts again: runs and sessions without a heartbeat
--   during the gap may only have been waiting for the same Airflow as the watchdog.
-- Parameters: now (timestamptz), longest_gap (interval).
-- Locks: the only row.
-- Repeatable: a second check at the same moment changes nothing.
INSERT INTO amop.watchdog AS watchdog (checked_at, watching_since)
VALUES (%(now)s, %(now)s)
ON CONFLICT (only_row) DO UPDATE SET
watching_since = CASE
    WHEN %(now)s::timestamptz - watchdog.checked_at > %(longest_gap)s::interval THEN %(now)s
    ELSE watchdog.watching_since
END,
checked_at = greatest(watchdog.checked_at, %(now)s)
RETURNING watching_since
