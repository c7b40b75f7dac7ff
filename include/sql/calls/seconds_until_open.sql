-- Purpose: for how long the API user may not call, after a claim that was refused.
-- Parameters: api_user.
-- Locks: none beyond reading.
-- Repeatable: reads only.
SELECT
    coalesce(greatest(extract(EPOCH FROM blocked_until - clock_timestamp()), 0), 0)::double precision AS wait_seconds
FROM amop.carrier_api_user
WHERE api_user = %(api_user)s
