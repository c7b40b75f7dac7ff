-- Purpose: list the carrier accounts that have had no usable answer since before a moment.
-- Parameters: before (timestamptz).
-- Locks: none beyond reading.
-- Repeatable: reads only.
SELECT
    api_user,
    coalesce(account, 'an API user') AS account,
    failing_since,
    open_until,
    last_failure
FROM amop.carrier_api_user
WHERE failing_since <= %(before)s
ORDER BY failing_since, api_user
