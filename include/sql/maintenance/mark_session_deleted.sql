-- Purpose: record that Airflow no longer has any DAG run that could continue a session that has ended.
-- Parameters: session_id, now.
-- Locks: the session's row.
-- Repeatable: yes.
UPDATE amop.optimization_session
SET dag_run_deleted_at = %(now)s
WHERE id = %(session_id)s AND status IN ('failed', 'complete')
