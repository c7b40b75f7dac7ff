-- Purpose: list the running sync runs, replays of the archive included, whose DAG run Airflow can be asked about: not
--   those of `airflow dags test`, which may be in the metadata database of another machine, nor trials of one task, nor
--   the staging of the existing system (dag_id `existing_system_dag_id`), which Airflow does not know.
-- Parameters: existing_system_dag_id.
-- Locks: none beyond reading.
-- Repeatable: reads only.
SELECT
    run.id,
    run.dag_id,
    run.dag_run_id,
    run.attempt,
    run.service_provider_id,
    provider.name AS service_provider_name
FROM amop.device_sync_run AS run
INNER JOIN amop.service_provider AS provider ON run.service_provider_id = provider.id
WHERE
    run.status = 'running'
    AND NOT run.is_one_process
    AND run.dag_id <> %(existing_system_dag_id)s
    AND NOT starts_with(run.dag_run_id, '__airflow_temporary_run_')
ORDER BY run.id
