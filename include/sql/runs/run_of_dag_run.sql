-- Purpose: find the run that a DAG run opened for a provider earlier.
-- Parameters: service_provider_id, dag_id, dag_run_id.
-- Locks: none beyond reading.
-- Repeatable: reads only.
SELECT
    id,
    status
FROM amop.device_sync_run
WHERE
    dag_id = %(dag_id)s AND dag_run_id = %(dag_run_id)s AND service_provider_id = %(service_provider_id)s
