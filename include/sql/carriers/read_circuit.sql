-- Purpose: read the circuit breaker of an API user, and the present time of the clock that all machines share.
-- Parameters: api_user (text), now (timestamptz, null = the database's clock).
-- Locks: none beyond reading; the caller holds the API user's advisory lock.
-- Repeatable: reads only; the circuit of an API user without calls is closed.
SELECT
    coalesce(known.failures, 0) AS failures,
    known.failing_since,
    known.open_until,
    known.last_failure,
    present.now
FROM (VALUES (coalesce(%(now)s::timestamptz, clock_timestamp()))) AS present (now)
LEFT JOIN amop.carrier_api_user AS known ON known.api_user = %(api_user)s
