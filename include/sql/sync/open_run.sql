-- Purpose: open the ledger of one provider in one DAG run, or find it again when the task is repeated.
-- Parameters: service_provider_id, dag_id, dag_run_id, status (running | refused), error, billing_period_id, is_full,
--   modified_since, allows_mass_deactivation, now.
-- Locks: the row of this run; the unique index on the provider's running run refuses a second one.
-- Repeatable: the run's own row is found by its key; one that had failed is opened again with its staging kept, unless
--   maintenance has removed that.
INSERT INTO amop.device_sync_run AS run (
    service_provider_id, dag_id, dag_run_id, status, error, billing_period_id, is_full, modified_since,
    allows_mass_deactivation, started_at, progress_at
)
VALUES (
    %(service_provider_id)s, %(dag_id)s, %(dag_run_id)s, %(status)s, %(error)s, %(billing_period_id)s, %(is_full)s,
    %(modified_since)s, %(allows_mass_deactivation)s, %(now)s, %(now)s
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
    ended_at = CASE WHEN run.status = 'complete' OR run.staging_removed_at IS NOT NULL THEN run.ended_at END,
    allows_mass_deactivation = excluded.allows_mass_deactivation,
    progress_at = excluded.progress_at
RETURNING run.id, run.status, run.attempt, run.billing_period_id
