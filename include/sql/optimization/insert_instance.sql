-- Purpose: open the instance of a session.
-- Parameters: session_id, usage_as_of (the moment that usage is projected from), apply_changes, now.
-- Locks: the new row.
-- Repeatable: yes; there is one row per session, and a second call returns the id of the first and changes nothing.
INSERT INTO amop.optimization_instance AS instance (session_id, usage_as_of, apply_changes, started_at)
VALUES (%(session_id)s, %(usage_as_of)s, %(apply_changes)s, %(now)s)
ON CONFLICT (session_id) DO UPDATE SET session_id = instance.session_id
RETURNING id
