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

-- The days of a SIM whose counter was broken twice add up beyond bigint: then the sum is the largest one and the SIM is
-- left out like any other with a broken counter. The text of both functions stays in one place, migration 0008.
DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['eligible_device_of_closed_period', 'eligible_device_of_open_period'] LOOP
        EXECUTE regexp_replace(
            pg_get_functiondef(to_regproc('amop.' || name)),
            'sum\((usage\.\w+)\)::bigint', 'least(sum(\1), 9223372036854775807)::bigint', 'g'
        );
    END LOOP;
END
$$;
