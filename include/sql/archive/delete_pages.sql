-- Purpose: the archive has them: the answers of a run leave the warehouse.
-- Parameters: run_id (bigint).
-- Locks: the deleted rows.
-- Repeatable: deletes nothing the second time.
DELETE FROM amop.carrier_page
WHERE run_id = %(run_id)s
