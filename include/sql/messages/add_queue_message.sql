-- Purpose: record a queue message with what becomes of it.
-- Parameters: message_id, dag_run_id, outcome, reason, run_id, max_tries, delay_seconds (these three null unless
--   started), should_optimize, attributes (jsonb), body, now.
-- Locks: the new row; the unique index on run_id lets one message start the clean-up of a run.
-- Repeatable: a second row of the same message raises a unique violation; note_redelivery comes first.
INSERT INTO amop.queue_message (
    message_id, dag_run_id, outcome, reason, run_id, max_tries, delay_seconds, should_optimize, attributes, body,
    received_at, last_received_at
)
VALUES (
    %(message_id)s, %(dag_run_id)s, %(outcome)s, %(reason)s, %(run_id)s, %(max_tries)s, %(delay_seconds)s,
    %(should_optimize)s, %(attributes)s, %(body)s, %(now)s, %(now)s
)
