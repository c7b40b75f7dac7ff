-- Purpose: delete a batch of expired notifications of operators. One that still waits to be sent is kept.
-- Parameters: before, batch (number of rows).
-- Locks: the deleted rows.
-- Repeatable: deletes the remaining rows.
DELETE FROM amop.notification
WHERE id IN (
    SELECT notification.id FROM amop.notification AS notification
    WHERE notification.created_at < %(before)s AND notification.state <> 'pending'
    ORDER BY notification.id
    LIMIT %(batch)s
)
