-- Purpose: open the run that replays an archived run, or find it again; it never holds up a live run.
-- Parameters: service_provider_id, dag_id, dag_run_id (with the archived run's id), billing_period_id, replayed_run_id,
--   now.
-- Locks: the row of this run.
-- Repeatable: a run that has ended is opened again and starts over.
INSERT INTO amop.device_sync_run AS run (
    service_provider_id, dag_id, dag_run_id, billing_period_id, replayed_run_id, is_full, started_at, progress_at
)
VALUES (
    %(service_provider_id)s, %(dag_id)s, %(dag_run_id)s, %(billing_period_id)s, %(replayed_run_id)s, false, %(now)s,
    %(now)s
)
ON CONFLICT (dag_id, dag_run_id, service_provider_id) DO UPDATE
SET
    status = 'running',
    error = NULL,
    ended_at = NULL,
    attempt = run.attempt + 1,
    billing_period_id = excluded.billing_period_id,
    list_is_complete = false,
    pages = 0,
    devices_seen = 0,
    usage_as_of = NULL,
    summary = NULL,
    progress_at = excluded.progress_at
RETURNING run.id
