-- Purpose: record that the answer to the write request of a plan change left the outcome open.
-- Parameters: change_id, doubt (text), is_denied (boolean), now.
-- Locks: the row.
-- Repeatable: no, each call counts one more write request; it is made once for each answer.
UPDATE amop.rate_plan_change
SET
    doubt_since = %(now)s,
    doubt = %(doubt)s,
    doubt_count = doubt_count + 1,
    is_denied = %(is_denied)s
WHERE id = %(change_id)s AND state = 'approved'
