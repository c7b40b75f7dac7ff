-- Purpose: list the API users whose carrier is failing, with the next call that is allowed.
-- Parameters: none.
-- Locks: none beyond reading.
-- Repeatable: reads only.
SELECT
    coalesce(account, 'API user ' || api_user) AS account,
    api_user,
    failures,
    failing_since,
    open_until,
    last_failure
FROM amop.carrier_api_user
WHERE failures > 0
ORDER BY failing_since, api_user
