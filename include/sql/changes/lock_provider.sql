-- Purpose: let one process at a time apply plan changes of a provider.
-- Parameters: service_provider_id.
-- Locks: a session-level advisory lock, freed by the end of the session, however it ends.
-- Repeatable: the same session may take it again.
SELECT pg_advisory_lock(hashtextextended('amop plan changes of provider ' || %(service_provider_id)s, 0))
