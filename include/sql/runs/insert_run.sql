-- Purpose: open the run of one provider in one DAG run, or find it again when the task is repeated.
-- Parameters: service_provider_id, dag_id, dag_run_id, status (running | refused), error, billing_period_id (null
--   only where refused), is_full, modified_since, allows_mass_deactivation, allows_implausible, clear_number,
--   is_one_process, now.
-- Locks: the row of this run; the unique index on the provider's running run refuses a second one.
-- Repeatable: the run's row is found by its key. A failed run is opened again with its staging, unless maintenance has
--   deleted the staging. A refused run that has read nothing gets the list of this call.
INSERT INTO amop.device_sync_run AS run (
    service_provider_id, dag_id, dag_run_id, status, error, billing_period_id, is_full, modified_since,
    allows_mass_deactivation, allows_implausible, clear_number, is_one_process, started_at, progress_at, ended_at
)
VALUES (
    %(service_provider_id)s, %(dag_id)s, %(dag_run_id)s, %(status)s, %(error)s, %(billing_period_id)s, %(is_full)s,
    %(modified_since)s, %(allows_mass_deactivation)s, %(allows_implausible)s, %(clear_number)s,
    %(is_one_process)s, %(now)s, %(now)s,
    CASE WHEN %(status)s = 'refused' THEN %(now)s::timestamptz END
)
ON CONFLICT (dag_id, dag_run_id, service_provider_id) DO UPDATE
SET
    status = CASE
        WHEN run.status = 'complete' OR run.staging_removed_at IS NOT NULL THEN run.status
        ELSE excluded.status
    END,
    error = CASE
        WHEN run.status = 'complete' OR run.staging_removed_at IS NOT NULL THEN run.error
        ELSE excluded.error
    END,
    attempt = CASE WHEN run.status IN ('failed', 'refused') THEN run.attempt + 1 ELSE run.attempt END,
    ended_at = CASE
        WHEN run.status = 'complete' OR run.staging_removed_at IS NOT NULL THEN run.ended_at
        ELSE excluded.ended_at
    END,
    billing_period_id = coalesce(run.billing_period_id, excluded.billing_period_id),
    is_full = CASE WHEN run.status = 'refused' AND run.pages = 0 THEN excluded.is_full ELSE run.is_full END,
    modified_since = CASE
        WHEN run.status = 'refused' AND run.pages = 0 THEN excluded.modified_since
        ELSE run.modified_since
    END,
    allows_mass_deactivation = excluded.allows_mass_deactivation,
    allows_implausible = excluded.allows_implausible,
    clear_number = greatest(run.clear_number, excluded.clear_number),
    progress_at = excluded.progress_at
RETURNING run.id, run.status, run.attempt, run.billing_period_id, run.optimization_session_id
