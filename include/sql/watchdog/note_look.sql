-- Purpose: note that the watchdog looks. After a gap it begins to watch anew: what was silent meanwhile may only
--   have been waiting for the same Airflow that the watchdog itself was waiting for.
-- Parameters: now (timestamptz), longest_gap (interval).
-- Locks: the only row.
-- Repeatable: a second look at the same moment changes nothing.
INSERT INTO amop.watchdog AS watchdog (looked_at, watching_since)
VALUES (%(now)s, %(now)s)
ON CONFLICT (only_row) DO UPDATE SET
watching_since = CASE
    WHEN %(now)s::timestamptz - watchdog.looked_at > %(longest_gap)s::interval THEN %(now)s
    ELSE watchdog.watching_since
END,
looked_at = greatest(watchdog.looked_at, %(now)s)
RETURNING watching_since
