-- Purpose: return whether the failure of a task is recorded in its sync run or its session, which notify of it.
-- Parameters: run_id (bigint or null), session_id (bigint or null), dag_id, dag_run_id, error (text), since
--   (timestamptz).
-- Locks: none beyond reading.
-- Repeatable: reads only.
SELECT
    EXISTS (
        SELECT 1 FROM amop.device_sync_run AS run
        WHERE
            run.status IN ('failed', 'refused')
            AND (
                run.id = %(run_id)s::bigint
                OR (run.dag_id = %(dag_id)s AND run.dag_run_id = %(dag_run_id)s AND run.error = %(error)s)
            )
    )
    OR EXISTS (
        SELECT 1 FROM amop.optimization_session AS session
        WHERE
            session.status = 'failed'
            AND (
                session.id = %(session_id)s::bigint
                OR (session.error = %(error)s AND session.ended_at > %(since)s)
            )
    ) AS is_recorded
