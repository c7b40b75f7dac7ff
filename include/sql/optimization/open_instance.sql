-- Purpose: open the instance of a session.
-- Parameters: session_id, usage_as_of (the projection's "now"), apply_changes, now.
-- Locks: the new row.
-- Repeatable: one row for each session; a second call returns the first one's id and changes nothing of it.
INSERT INTO amop.optimization_instance AS instance (session_id, usage_as_of, apply_changes, started_at)
VALUES (%(session_id)s, %(usage_as_of)s, %(apply_changes)s, %(now)s)
ON CONFLICT (session_id) DO UPDATE SET session_id = instance.session_id
RETURNING id
