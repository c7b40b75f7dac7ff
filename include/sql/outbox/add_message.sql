-- Purpose: put a message to AMOP into the outbox, in the transaction of the change that it tells of.
-- Parameters: kind (progress | error | daily_sync), session_id (null for a daily notice), dedupe_key, payload (jsonb).
-- Locks: the new row.
-- Repeatable: one row for each key; a second one changes nothing.
INSERT INTO amop.amop_outbox (kind, session_id, dedupe_key, payload)
VALUES (%(kind)s, %(session_id)s, %(dedupe_key)s, %(payload)s)
ON CONFLICT (dedupe_key) DO NOTHING
