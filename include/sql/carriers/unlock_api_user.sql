-- Purpose: let the next process call as this API user.
-- Parameters: api_user (text).
-- Locks: releases the session-level advisory lock.
-- Repeatable: unlocking a lock that is not held only raises a warning.
SELECT pg_advisory_unlock(hashtextextended('amop carrier call ' || %(api_user)s, 0))
