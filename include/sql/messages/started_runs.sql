-- Purpose: list the runs whose clean-up a run of DAG device_notification has to do, with the limits of their messages.
-- Parameters: dag_run_id.
-- Locks: none beyond reading.
-- Repeatable: reads only.
SELECT
    run.id AS run_id,
    provider.id AS service_provider_id,
    provider.name AS service_provider_name,
    provider.connection_id,
    run.optimization_session_id,
    message.max_tries,
    message.delay_seconds
FROM amop.queue_message AS message
INNER JOIN amop.device_sync_run AS run ON message.run_id = run.id
INNER JOIN amop.service_provider AS provider ON run.service_provider_id = provider.id
WHERE message.dag_run_id = %(dag_run_id)s
ORDER BY run.id
