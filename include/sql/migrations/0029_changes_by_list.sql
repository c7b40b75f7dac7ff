-- Purpose: plan changes that are checked by the carrier's list of modified SIMs instead of one read each: which SIMs
--   are read first nevertheless, and how far the list has been read.
-- Parameters: none.
-- Locks: rate_plan_change and optimization_instance, exclusively and briefly.
-- Repeatable: the migration ledger applies it once; every file is one transaction.
ALTER TABLE amop.rate_plan_change ADD COLUMN is_read_first boolean NOT NULL DEFAULT false;
COMMENT ON COLUMN amop.rate_plan_change.is_read_first IS
'True: the SIM is read alone before its change is sent, also where a list checks the others: it was modified at the
carrier since the device list of the optimization, that list does not say its plan for certain, or an earlier request of
the change was not done.';

ALTER TABLE amop.optimization_instance
ADD COLUMN changes_listed_at timestamptz,
ADD COLUMN changes_list_refusal text;
COMMENT ON COLUMN amop.optimization_instance.changes_listed_at IS
'sent_at of the newest plan change that the last list of modified SIMs showed: modifications until then are in
rate_plan_change.is_read_first; null while no list was read.';
COMMENT ON COLUMN amop.optimization_instance.changes_list_refusal IS
'Why the list of modified SIMs is not used any more, and each SIM is read before its change; null while it may be.';

ALTER TABLE amop.optimization_instance ADD COLUMN changes_read_count integer NOT NULL DEFAULT 0;
COMMENT ON COLUMN amop.optimization_instance.changes_read_count IS
'Reads at the carrier that checked the plan changes and read them back: pages of lists, and single SIMs.';
