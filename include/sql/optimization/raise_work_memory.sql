-- Purpose: raise the memory of one aggregate over all SIMs, so that it does not spill to disk (a million SIMs take 200
--   MB).
-- Parameters: none.
-- Locks: none; in force until this transaction ends.
-- Repeatable: yes.
SET LOCAL work_mem = '256MB'
