-- Purpose: what an instance keeps besides: the present plan of each SIM as the carrier names it (it may be one that the
--   reference data does not know), what the operator allowed, when
--   its inputs were read, and why an instance ended with errors.
-- Parameters: none.
-- Locks: ACCESS EXCLUSIVE on both tables for a moment; no row is rewritten.
-- Repeatable: the migration ledger applies it once; every file is one transaction.
ALTER TABLE amop.optimization_device ADD COLUMN current_rate_plan text;
ALTER TABLE amop.optimization_instance
ADD COLUMN apply_changes text NOT NULL DEFAULT 'provider_setting'
CHECK (apply_changes IN ('provider_setting', 'never'));
ALTER TABLE amop.optimization_instance ADD COLUMN inputs_read_at timestamptz;
ALTER TABLE amop.optimization_instance ADD COLUMN error text;
