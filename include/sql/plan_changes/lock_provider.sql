-- Purpose: let one process at a time apply plan changes of a provider.
-- Parameters: service_provider_id.
-- Locks: a session-level advisory lock, released when the session ends.
-- Repeatable: yes; the same session may take it again.
SELECT pg_advisory_lock(hashtextextended('amop plan changes of provider ' || %(service_provider_id)s::bigint, 0))
