-- Purpose: delete a batch of the rows of an ended sync run from one of its staging or ledger tables.
-- Parameters: table (identifier), run_id, batch (number of rows).
-- Locks: the deleted rows.
-- Repeatable: deletes the remaining rows.
DELETE FROM {table}
WHERE ctid = any(array(
    SELECT expired.ctid FROM {table} AS expired
    WHERE expired.run_id = %(run_id)s
    LIMIT %(batch)s -- noqa: AM09, the order of deletion does not matter
))
