-- Purpose: find the work in progress for a provider: its running session (of any billing period), its running device
--   sync, and the optimization whose plan changes are undecided, awaiting approval or being applied.
-- Parameters: service_provider_id, alive_since (timestamptz; a sync without a heartbeat since then is stale),
--   changes_since (timestamptz; plan changes decided before it are ignored). Trials of one task, and optimizations
--   whose DAG runs were deleted, or ended before the changes were answered or sent, are no work in progress.
-- Locks: none beyond reading.
-- Repeatable: reads only.
SELECT
    (
        SELECT session.id
        FROM amop.optimization_session AS session
        WHERE session.service_provider_id = %(service_provider_id)s AND session.status = 'running'
    ) AS session_id,
    (
        SELECT max(run.id)
        FROM amop.device_sync_run AS run
        WHERE
            run.service_provider_id = %(service_provider_id)s
            AND run.status = 'running' AND run.replayed_run_id IS NULL
            AND NOT starts_with(run.dag_run_id, '__airflow_temporary_run_')
            AND greatest(run.progress_at, run.heartbeat_at) >= %(alive_since)s
    ) AS sync_run_id,
    (
        SELECT max(instance.id)
        FROM amop.optimization_instance AS instance
        INNER JOIN amop.optimization_session AS session ON instance.session_id = session.id
        WHERE
            session.service_provider_id = %(service_provider_id)s
            AND instance.run_status = 'complete_with_success'
            AND coalesce(instance.changes_status, 'waiting') IN ('waiting', 'approved')
            AND session.dag_run_deleted_at IS NULL
            AND session.approval_lost_at IS NULL
            AND session.applying_lost_at IS NULL
            AND coalesce(instance.changes_decided_at, instance.ended_at) > %(changes_since)s
    ) AS changes_instance_id
