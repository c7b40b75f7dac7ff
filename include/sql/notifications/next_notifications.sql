-- Purpose: return and lock the notifications of the cause that has waited longest; they become one message.
-- Parameters: now (timestamptz), batch (number of rows).
-- Locks: the rows, until the transaction ends; rows that another process sends are excluded.
-- Repeatable: yes; a row that was sent is not returned.
SELECT
    notification.id,
    notification.kind,
    notification.provider,
    notification.cause,
    notification.first_step,
    notification.address,
    notification.attempts
FROM amop.notification AS notification
WHERE
    notification.state = 'pending' AND notification.next_attempt_at <= %(now)s
    AND notification.cause_key = (
        SELECT oldest.cause_key FROM amop.notification AS oldest
        WHERE oldest.state = 'pending' AND oldest.next_attempt_at <= %(now)s
        ORDER BY oldest.id
        LIMIT 1
    )
ORDER BY notification.id
LIMIT %(batch)s
FOR UPDATE SKIP LOCKED
