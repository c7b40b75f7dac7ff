-- Purpose: let the next process call as this API user.
-- Parameters: api_user (text).
-- Locks: frees the session-level advisory lock.
-- Repeatable: unlocking what is not locked only warns.
SELECT pg_advisory_unlock(hashtextextended('amop carrier call ' || %(api_user)s, 0))
