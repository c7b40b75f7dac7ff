-- Purpose: return whether the warehouse holds answers of a run.
-- Parameters: run_id.
-- Locks: none beyond reading.
-- Repeatable: reads only.
SELECT EXISTS(SELECT 1 FROM amop.carrier_page WHERE run_id = %(run_id)s) AS has_pages
