-- Purpose: give claimed messages back that were not sent, as if they had not been claimed.
-- Parameters: message_ids (bigint[]), now (timestamptz or null = the database's clock).
-- Locks: the messages' rows, within one statement.
-- Repeatable: no; run once for each claim. A message that another process has claimed meanwhile keeps its claim.
UPDATE amop.amop_outbox
SET attempts = attempts - 1, next_attempt_at = coalesce(%(now)s::timestamptz, clock_timestamp())
WHERE id = any(%(message_ids)s::bigint[]) AND state = 'pending' AND attempts > 0
