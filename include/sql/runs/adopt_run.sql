-- Purpose: hand a running run whose process is gone to another DAG run, which continues its ledger.
-- Parameters: run_id, dag_id, dag_run_id, clear_number, is_one_process, now.
-- Locks: the run's row.
-- Repeatable: only a running run is handed over.
UPDATE amop.device_sync_run
SET
    dag_id = %(dag_id)s,
    dag_run_id = %(dag_run_id)s,
    clear_number = %(clear_number)s,
    is_one_process = %(is_one_process)s,
    attempt = attempt + 1,
    progress_at = %(now)s
WHERE id = %(run_id)s AND status = 'running'
