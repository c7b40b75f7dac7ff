-- Purpose: let the dead-lettered messages of a session, or one message, be sent again.
-- Parameters: session_id (or null), dedupe_key (or null); one of them is given.
-- Locks: the rows.
-- Repeatable: only dead-lettered messages are changed.
UPDATE amop.amop_outbox
SET state = 'pending', attempts = 0, next_attempt_at = now(), reported_in = NULL
WHERE state = 'dead' AND (session_id = %(session_id)s::bigint OR dedupe_key = %(dedupe_key)s::text)
