-- Purpose: return the health of the carriers and of AMOP: API users that are failing, and undelivered messages.
-- Parameters: none.
-- Locks: none, reads only.
-- Repeatable: yes.
SELECT
    carriers.api_users,
    carriers.failing,
    carriers.failing_since,
    carriers.next_call,
    messages.pending,
    messages.dead,
    messages.oldest_pending
FROM (
    SELECT
        count(*) AS api_users,
        count(*) FILTER (WHERE failing_since IS NOT NULL) AS failing,
        min(failing_since) AS failing_since,
        max(open_until) AS next_call
    FROM amop.carrier_api_user
) AS carriers
CROSS JOIN (
    SELECT
        count(*) FILTER (WHERE state = 'pending') AS pending,
        count(*) FILTER (WHERE state = 'dead') AS dead,
        min(created_at) FILTER (WHERE state = 'pending') AS oldest_pending
    FROM amop.amop_outbox
    WHERE state IN ('pending', 'dead')
) AS messages
