-- Purpose: the rows of one SIM each of an optimization go when its billing period closed long ago; its figures stay.
-- Parameters: none.
-- Locks: ACCESS EXCLUSIVE on optimization_instance for a moment; no row is rewritten.
-- Repeatable: the migration ledger applies it once; every file is one transaction.
ALTER TABLE amop.optimization_instance ADD COLUMN devices_removed_at timestamptz;
COMMENT ON COLUMN amop.optimization_instance.devices_removed_at IS
'When maintenance removed the inputs, assignments and results of the SIMs; costs, bill items and changes are kept.';
