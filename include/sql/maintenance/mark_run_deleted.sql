-- Purpose: record that Airflow no longer has the DAG run of a failed sync run, and take the advice to resume or to
--   clear that DAG run out of its error.
-- Parameters: run_id, now.
-- Locks: the run's row.
-- Repeatable: yes; a run that was resumed meanwhile is left alone.
UPDATE amop.device_sync_run
SET
    dag_run_deleted_at = greatest(%(now)s::timestamptz, ended_at),
    error = amop.error_without_resume(error)
WHERE id = %(run_id)s AND status IN ('failed', 'refused')
