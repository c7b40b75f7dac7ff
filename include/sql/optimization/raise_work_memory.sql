-- Purpose: memory for one aggregate over every SIM, so that it does not spill to disk (a million SIMs take 200 MB).
-- Parameters: none.
-- Locks: none; holds until the end of this transaction.
-- Repeatable: the same value again.
SET LOCAL work_mem = '256MB'
