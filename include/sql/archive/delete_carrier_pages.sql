-- Purpose: delete the answers of a run from the warehouse after they are archived.
-- Parameters: run_id.
-- Locks: the deleted rows.
-- Repeatable: deletes nothing the second time.
DELETE FROM amop.carrier_page
WHERE run_id = %(run_id)s
