-- Purpose: raise the memory of the aggregates and joins over all SIMs, so that they do not spill to disk (a million
--   SIMs take 200 MB).
-- Parameters: none.
-- Locks: none; in force until this transaction ends.
-- Repeatable: yes.
SET LOCAL work_mem = '256MB'
