-- Purpose: the rows of one SIM each of an optimization go when its billing period closed long ago, its figures stay;
--   and a SIM whose counter is broken is left out of an optimization instead of ending it.
-- Parameters: none.
-- Locks: ACCESS EXCLUSIVE on optimization_instance and optimization_device_left_out for a moment; no row is rewritten
--   and none is read: the reasons that are there are among the new ones.
-- Repeatable: the migration ledger applies it once; every file is one transaction.
ALTER TABLE amop.optimization_instance ADD COLUMN devices_removed_at timestamptz;
COMMENT ON COLUMN amop.optimization_instance.devices_removed_at IS
'When maintenance removed the inputs, assignments and results of the SIMs; costs, bill items and changes are kept.';

ALTER TABLE amop.optimization_device_left_out
DROP CONSTRAINT optimization_device_left_out_reason_check,
ADD CONSTRAINT optimization_device_left_out_reason_check CHECK (
    reason IN (
        'no_communication_plan', 'communication_plan_not_mapped', 'only_retired_rate_plans', 'limit_exceeded',
        'usage_too_large', 'changed_meanwhile', 'inactive', 'vanished'
    )
) NOT VALID;
