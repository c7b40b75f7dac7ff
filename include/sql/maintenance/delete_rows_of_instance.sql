-- Purpose: delete a batch of the rows of an ended instance from one of its tables with a row per SIM.
-- Parameters: table (identifier), instance_id, batch (number of rows).
-- Locks: the deleted rows.
-- Repeatable: deletes the remaining rows.
DELETE FROM {table}
WHERE ctid = any(array(
    SELECT expired.ctid FROM {table} AS expired
    WHERE expired.instance_id = %(instance_id)s
    LIMIT %(batch)s -- noqa: AM09, the order of deletion does not matter
))
