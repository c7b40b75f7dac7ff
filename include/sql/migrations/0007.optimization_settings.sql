-- Purpose: how far an optimization may go at a provider: what a plan change must save, how many there may be, which of
--   them wait for a person, and how usage is projected.
-- Parameters: none.
-- Locks: ACCESS EXCLUSIVE on service_provider for a moment; no row is rewritten.
-- Repeatable: the migration ledger applies it once; every file is one transaction.
ALTER TABLE amop.service_provider
ADD COLUMN minimum_saving_per_change numeric(18, 6) NOT NULL DEFAULT 0 CHECK (minimum_saving_per_change >= 0),
ADD COLUMN maximum_changes integer CHECK (maximum_changes >= 0),
ADD COLUMN approval_above_changes integer DEFAULT 500 CHECK (approval_above_changes >= 0),
ADD COLUMN approval_above_amount numeric(18, 6) CHECK (approval_above_amount >= 0),
ADD COLUMN projection_method text NOT NULL DEFAULT 'daily_history'
CHECK (projection_method IN ('daily_history', 'elapsed_time'));
