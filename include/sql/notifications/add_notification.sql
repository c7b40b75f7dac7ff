-- Purpose: write what operators are to be notified of.
-- Parameters: kind, dedupe_key, cause_key, provider, cause, first_step, address, state, now.
-- Locks: the new row.
-- Repeatable: an event that has a row, whatever its state, gets no second one.
INSERT INTO amop.notification (
    kind, dedupe_key, cause_key, provider, cause, first_step, address, state, next_attempt_at, created_at
)
VALUES (
    %(kind)s, %(dedupe_key)s, %(cause_key)s, %(provider)s, %(cause)s, %(first_step)s, %(address)s, %(state)s,
    %(now)s, %(now)s
)
ON CONFLICT (dedupe_key) DO NOTHING
