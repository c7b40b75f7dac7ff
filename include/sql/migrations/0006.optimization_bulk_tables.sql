-- Purpose: the two tables that take a million rows an instance lose the foreign keys that are checked row by row and
--   can never fail: their rows come from joins with the very tables, of which no row is ever deleted. The key to the
--   instance stays, so that an instance is removed with its rows. Room is left on each page for the two assignments
--   that are written later, so that they do not touch the index.
-- Parameters: none.
-- Locks: ACCESS EXCLUSIVE on both tables for a moment; no row is rewritten.
-- Repeatable: the migration ledger applies it once; every file is one transaction.
ALTER TABLE amop.optimization_device
DROP CONSTRAINT optimization_device_device_id_fkey,
DROP CONSTRAINT optimization_device_comm_group_id_fkey,
DROP CONSTRAINT optimization_device_current_rate_plan_id_fkey,
DROP CONSTRAINT optimization_device_base_rate_plan_id_fkey,
DROP CONSTRAINT optimization_device_solved_rate_plan_id_fkey;
ALTER TABLE amop.optimization_device SET (fillfactor = 60);
ALTER TABLE amop.optimization_device_result DROP CONSTRAINT optimization_device_result_device_id_fkey;
