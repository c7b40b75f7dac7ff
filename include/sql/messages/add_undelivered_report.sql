-- Purpose: record a report that could not be delivered; the next attempt is due after a delay.
-- Parameters: kind, run_id (or null), instance_id (or null), address (or null), error, now (timestamptz or null = the
--   database's clock), delay_seconds.
-- Locks: the new row, or that of the same report.
-- Repeatable: a report has one row; a repeated call replaces its error.
INSERT INTO amop.undelivered_report AS report (kind, run_id, instance_id, address, error, created_at, next_attempt_at)
VALUES (
    %(kind)s, %(run_id)s, %(instance_id)s, %(address)s, %(error)s,
    coalesce(%(now)s::timestamptz, now()),
    coalesce(%(now)s::timestamptz, now()) + make_interval(secs => %(delay_seconds)s::double precision)
)
ON CONFLICT ON CONSTRAINT undelivered_report_once DO UPDATE
SET error = excluded.error, address = coalesce(excluded.address, report.address)
