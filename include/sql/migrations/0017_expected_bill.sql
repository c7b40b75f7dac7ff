-- Purpose: the projection method ``scenarios``, and the expected bill of an instance with its risk.
-- Parameters: none.
-- Locks: service_provider and optimization_instance, exclusively and briefly.
-- Repeatable: the migration ledger applies it once; every file is one transaction.
ALTER TABLE amop.service_provider
DROP CONSTRAINT service_provider_projection_method_check;
ALTER TABLE amop.service_provider
ADD CONSTRAINT service_provider_projection_method_check
CHECK (projection_method IN ('daily_history', 'elapsed_time', 'scenarios'));

ALTER TABLE amop.optimization_instance
ADD COLUMN expected_cost numeric(18, 6),
ADD COLUMN expected_lower_bound numeric(18, 6),
ADD COLUMN expected_current_cost numeric(18, 6),
ADD COLUMN cost_5_percent numeric(18, 6),
ADD COLUMN cost_50_percent numeric(18, 6),
ADD COLUMN cost_95_percent numeric(18, 6),
ADD COLUMN expected_bill jsonb;
COMMENT ON COLUMN amop.optimization_instance.expected_cost IS
'Mean of the bills of the solved assignment over scenarios of the usage; null unless the method is scenarios.';
COMMENT ON COLUMN amop.optimization_instance.expected_lower_bound IS
'Proven: no assignment has a lower mean over these scenarios.';
COMMENT ON COLUMN amop.optimization_instance.expected_current_cost IS 'Mean of the bills of the present plans.';
COMMENT ON COLUMN amop.optimization_instance.cost_5_percent IS
'The lowest bill that at least 5 % of the scenarios do not exceed.';
COMMENT ON COLUMN amop.optimization_instance.cost_50_percent IS
'The lowest bill that at least 50 % of the scenarios do not exceed.';
COMMENT ON COLUMN amop.optimization_instance.cost_95_percent IS
'The lowest bill that at least 95 % of the scenarios do not exceed.';
COMMENT ON COLUMN amop.optimization_instance.expected_bill IS
'Scenarios and their seed, probability of overage and expected overage of each pool, and the proof of the bound.';
