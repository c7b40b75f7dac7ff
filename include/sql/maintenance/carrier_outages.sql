-- Purpose: list the carrier accounts that get no usable answer, with the start of the outage and the next call.
-- Parameters: none.
-- Locks: none beyond reading.
-- Repeatable: reads only.
SELECT
    coalesce(account, 'an API user') AS account,
    failures,
    failing_since,
    open_until AS next_call_at,
    last_failure
FROM amop.carrier_api_user
WHERE failing_since IS NOT NULL
ORDER BY failing_since, api_user
