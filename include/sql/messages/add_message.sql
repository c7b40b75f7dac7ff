-- Purpose: add a message to AMOP to the outbox, in the transaction of the change that it reports.
-- Parameters: kind (progress | error | daily_sync), session_id (null for a daily-sync notice), dedupe_key, payload
--   (jsonb).
-- Locks: the new row.
-- Repeatable: each key has one row; a second insert of the same key changes nothing.
INSERT INTO amop.amop_outbox (kind, session_id, dedupe_key, payload)
VALUES (%(kind)s, %(session_id)s, %(dedupe_key)s, %(payload)s)
ON CONFLICT (dedupe_key) DO NOTHING
