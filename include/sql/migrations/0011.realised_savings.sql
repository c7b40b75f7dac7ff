-- Purpose: what a closed billing period showed of an optimization: the saving that was realised beside the forecast
--   one, and the error of the projection; how usage was projected, so that it can be computed again; and an index that
--   finds the daily usage of a few weeks.
-- Parameters: none.
-- Locks: ACCESS EXCLUSIVE on optimization_device and optimization_instance for a moment, no row is rewritten; SHARE on
--   device_usage while the index is built (a few seconds for 100 million rows: it is a BRIN).
-- Repeatable: the migration ledger applies it once; every file is one transaction.
ALTER TABLE amop.optimization_device ADD COLUMN history_days smallint NOT NULL DEFAULT 0;
COMMENT ON COLUMN amop.optimization_device.history_days IS
'Usage days that this SIM was projected from (amop.domain.usage_history); 0 = by usage x period / elapsed x 1.01.';

ALTER TABLE amop.optimization_instance ADD COLUMN projection jsonb;
COMMENT ON COLUMN amop.optimization_instance.projection IS
'The method of the projection and, for daily_history, its usage days: with usage_mb, history_days and the rows of
device_usage before the date of usage_as_of the projection can be computed again.';

-- A merge writes the rows of one period and date side by side, so that block ranges hold few of each.
CREATE INDEX device_usage_period_date ON amop.device_usage USING brin (billing_period_id, usage_date);

CREATE TABLE amop.realised_saving (
    instance_id bigint PRIMARY KEY REFERENCES amop.optimization_instance ON DELETE CASCADE,
    usage_read_at timestamptz,
    applied_changes integer NOT NULL,
    forecast_saving numeric(24, 6) NOT NULL,
    old_plans_cost numeric(24, 6) NOT NULL,
    applied_plans_cost numeric(24, 6) NOT NULL,
    realised_saving numeric(24, 6) NOT NULL,
    projected_usage_mb numeric(24, 6) NOT NULL,
    real_usage_mb numeric(24, 6) NOT NULL,
    absolute_error_mb numeric(24, 6) NOT NULL,
    projection_error numeric,
    weighted_error numeric,
    measured_at timestamptz NOT NULL,
    CHECK (realised_saving = old_plans_cost - applied_plans_cost)
);
COMMENT ON TABLE amop.realised_saving IS
'One row for each completed instance of a closed billing period: the bill of the whole fleet of the instance with the
real usage, under the old plans and with the changes that were applied within the period.';
COMMENT ON COLUMN amop.realised_saving.usage_read_at IS
'When the real usage was last read within the period; what was used after it until the period''s end is not in it.';
COMMENT ON COLUMN amop.realised_saving.forecast_saving IS
'What the applied changes alone were forecast to save; optimization_instance.savings is the forecast of all proposals.';
COMMENT ON COLUMN amop.realised_saving.projection_error IS
'Of the fleet: (projected - real) / real usage; null where nothing was used.';
COMMENT ON COLUMN amop.realised_saving.weighted_error IS
'Weighted absolute percentage error of the SIMs: sum of |projected - real| / sum of real usage; null where nothing was
used. Unlike a mean of percentages it is defined for SIMs that used nothing, and a megabyte weighs as on the bill.';
