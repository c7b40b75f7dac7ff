-- Purpose: list the queue messages that were received last.
-- Parameters: dag_run_id (null = all), outcome (null = all), most (number of rows).
-- Locks: none beyond reading.
-- Repeatable: reads only.
SELECT
    message_id,
    received_at,
    outcome,
    reason,
    run_id,
    deliveries,
    max_tries,
    delay_seconds,
    should_optimize,
    dag_run_id,
    removed_at,
    attributes
FROM amop.queue_message
WHERE
    (%(dag_run_id)s::text IS NULL OR dag_run_id = %(dag_run_id)s)
    AND (%(outcome)s::text IS NULL OR outcome = %(outcome)s)
ORDER BY received_at DESC, message_id ASC
LIMIT %(most)s
