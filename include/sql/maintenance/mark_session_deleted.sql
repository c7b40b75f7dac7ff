-- Purpose: record that Airflow no longer has any DAG run that could continue a session that has ended, and take the
--   advice to resume or to clear that DAG run out of its error.
-- Parameters: session_id, now.
-- Locks: the session's row.
-- Repeatable: yes.
UPDATE amop.optimization_session
SET
    dag_run_deleted_at = %(now)s,
    error = amop.error_without_resume(error)
WHERE id = %(session_id)s AND status IN ('failed', 'complete')
