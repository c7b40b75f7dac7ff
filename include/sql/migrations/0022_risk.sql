-- Purpose: the weight of bad outcomes when plans are chosen, the mean of the worst tenth of the bills of an instance,
--   how uncertain the usage of each of its SIMs was, and whether the bill came true.
-- Parameters: none.
-- Locks: service_provider, optimization_instance and realised_saving, exclusively and briefly.
-- Repeatable: the migration ledger applies it once; every file is one transaction.
ALTER TABLE amop.service_provider
ADD COLUMN risk_weight numeric(5, 3) NOT NULL DEFAULT 0 CHECK (risk_weight >= 0 AND risk_weight <= 10);
COMMENT ON COLUMN amop.service_provider.risk_weight IS
'With projection_method scenarios: plans minimize the expected bill + this weight x the mean of the worst tenth of the
bills.';

ALTER TABLE amop.optimization_instance ADD COLUMN worst_tenth_cost numeric(18, 6);
COMMENT ON COLUMN amop.optimization_instance.worst_tenth_cost IS
'Mean of the worst tenth of the bills over the scenarios of the interval.';
COMMENT ON COLUMN amop.optimization_instance.cost_5_percent IS
'The lowest bill that at least 5 % of the scenarios of the interval do not exceed. These did not choose the plans.';
COMMENT ON COLUMN amop.optimization_instance.cost_50_percent IS
'The lowest bill that at least 50 % of the scenarios of the interval do not exceed.';
COMMENT ON COLUMN amop.optimization_instance.cost_95_percent IS
'The lowest bill that at least 95 % of the scenarios of the interval do not exceed.';

CREATE TABLE amop.optimization_device_forecast (
    instance_id bigint NOT NULL REFERENCES amop.optimization_instance ON DELETE CASCADE,
    device_id bigint NOT NULL,
    usage_5_percent bigint NOT NULL,
    usage_15_percent bigint NOT NULL,
    usage_25_percent bigint NOT NULL,
    usage_35_percent bigint NOT NULL,
    usage_45_percent bigint NOT NULL,
    usage_55_percent bigint NOT NULL,
    usage_65_percent bigint NOT NULL,
    usage_75_percent bigint NOT NULL,
    usage_85_percent bigint NOT NULL,
    usage_95_percent bigint NOT NULL,
    value_at_stake bigint NOT NULL CHECK (value_at_stake >= 0),
    PRIMARY KEY (instance_id, device_id)
);
COMMENT ON TABLE amop.optimization_device_forecast IS
'For each billed SIM of an instance whose plans scenarios chose: ten equally likely usages of the period, 1e-6 MB.
Column usage_N_percent has the least usage that N % of the scenarios do not exceed.';
COMMENT ON COLUMN amop.optimization_device_forecast.value_at_stake IS
'What knowing the usage would save on the mean, 1e-6 of the currency; 0 where one plan is cheapest in every scenario.';

ALTER TABLE amop.realised_saving
ADD COLUMN solved_plans_cost numeric(24, 6),
ADD COLUMN is_within_interval boolean;
COMMENT ON COLUMN amop.realised_saving.solved_plans_cost IS
'Where an interval of the bill was stated: the bill of the solved plans with the real usage, as if all were applied.';
COMMENT ON COLUMN amop.realised_saving.is_within_interval IS
'Whether that bill is within cost_5_percent and cost_95_percent of the instance.';
