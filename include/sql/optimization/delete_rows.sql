-- Purpose: delete the rows of an instance from one table before they are written again.
-- Parameters: instance_id; {table}, one of the tables that the function allows.
-- Locks: the deleted rows.
-- Repeatable: yes; deleting no row is no error.
DELETE FROM {table}
WHERE instance_id = %(instance_id)s
