-- Purpose: record the notification of a staged run that was reopened as undelivered, unless it was sent: its task does
--   nothing for a run that has failed, and Airflow does not repeat a task that has succeeded.
-- Parameters: run_id, error, now (timestamptz or null = the database's clock), delay_seconds (until the first attempt).
-- Locks: the new row.
-- Repeatable: a report has one row.
INSERT INTO amop.undelivered_report (kind, run_id, error, created_at, next_attempt_at)
SELECT
    'notification',
    run.id,
    %(error)s,
    coalesce(%(now)s::timestamptz, now()),
    coalesce(%(now)s::timestamptz, now()) + make_interval(secs => %(delay_seconds)s::double precision)
FROM amop.device_sync_run AS run
WHERE
    run.id = %(run_id)s
    AND run.list_is_complete
    AND run.notification_sent_at IS NULL
    AND run.replayed_run_id IS NULL
    AND NOT EXISTS (SELECT 1 FROM amop.device_usage_to_process AS work WHERE work.run_id = run.id)
ON CONFLICT ON CONSTRAINT undelivered_report_once DO NOTHING
