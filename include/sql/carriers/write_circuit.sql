-- Purpose: store the state of an API user's circuit breaker, so that it outlives the process.
-- Parameters: api_user (text), account (text, null = keep the stored one), failures, failing_since, open_until,
--   last_failure.
-- Locks: the API user's row, within one statement; the caller holds the API user's advisory lock.
-- Repeatable: writes the same values again.
UPDATE amop.carrier_api_user
SET
    account = coalesce(%(account)s, account),
    failures = %(failures)s,
    failing_since = %(failing_since)s,
    open_until = %(open_until)s,
    last_failure = %(last_failure)s
WHERE api_user = %(api_user)s
