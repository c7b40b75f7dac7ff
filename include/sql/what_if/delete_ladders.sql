-- Purpose: delete the ladders of a what-if, before they are written.
-- Parameters: what_if_id.
-- Locks: the deleted rows.
-- Repeatable: yes.
DELETE FROM amop.what_if_ladder
WHERE what_if_id = %(what_if_id)s
