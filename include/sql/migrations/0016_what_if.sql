-- Purpose: what a provider's bill would be with other rate plans, and with each choice of candidate plans.
-- Parameters: none.
-- Locks: creates new objects only.
-- Repeatable: the migration ledger applies it once; every file is one transaction.
CREATE TABLE amop.what_if (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    service_provider_id bigint NOT NULL REFERENCES amop.service_provider,
    dag_id text NOT NULL,
    dag_run_id text NOT NULL,
    instance_id bigint REFERENCES amop.optimization_instance ON DELETE SET NULL,
    rate_plans text NOT NULL,
    ladder_size integer CHECK (ladder_size > 0),
    status text NOT NULL DEFAULT 'running' CHECK (status IN ('running', 'complete', 'failed')),
    error text,
    device_count integer,
    present_cost numeric(24, 6),
    today_cost numeric(24, 6),
    today_bound numeric(24, 6),
    new_present_cost numeric(24, 6),
    new_cost numeric(24, 6),
    new_bound numeric(24, 6),
    changes integer,
    started_at timestamptz NOT NULL,
    ended_at timestamptz,
    UNIQUE (dag_id, dag_run_id)
);
CREATE INDEX what_if_of_provider ON amop.what_if (service_provider_id, id);
COMMENT ON TABLE amop.what_if IS
'Bills of a provider''s SIMs with other rate plans. Money for a whole billing period, with the usage that the instance
forecast; plan changes are neither limited nor do they need a minimum saving.';
COMMENT ON COLUMN amop.what_if.rate_plans IS 'The table of rate plans as CSV (amop.what_if.plan_table).';
COMMENT ON COLUMN amop.what_if.ladder_size IS
'Number of new plans to ask the carrier for: every choice of them is computed; null = all new plans at once.';
COMMENT ON COLUMN amop.what_if.present_cost IS 'Of the present plans at the present prices.';
COMMENT ON COLUMN amop.what_if.today_cost IS 'Of the cheapest assignment at the present prices.';
COMMENT ON COLUMN amop.what_if.today_bound IS 'Proven: no assignment costs less at the present prices.';
COMMENT ON COLUMN amop.what_if.new_present_cost IS 'Of the present plans at the new prices.';
COMMENT ON COLUMN amop.what_if.new_cost IS 'Of the cheapest assignment at the new prices.';
COMMENT ON COLUMN amop.what_if.new_bound IS 'Proven: no assignment costs less at the new prices.';
COMMENT ON COLUMN amop.what_if.changes IS 'SIMs that leave their present plan in it.';

CREATE TABLE amop.what_if_move (
    what_if_id bigint NOT NULL REFERENCES amop.what_if ON DELETE CASCADE,
    from_rate_plan text NOT NULL,
    to_rate_plan text NOT NULL,
    sims integer NOT NULL,
    PRIMARY KEY (what_if_id, from_rate_plan, to_rate_plan)
);
COMMENT ON TABLE amop.what_if_move IS 'SIMs by present plan and plan in the cheapest assignment at the new prices.';

CREATE TABLE amop.what_if_ladder (
    what_if_id bigint NOT NULL REFERENCES amop.what_if ON DELETE CASCADE,
    rate_plans text[] NOT NULL,
    cost numeric(24, 6) NOT NULL,
    bound numeric(24, 6) NOT NULL,
    changes integer NOT NULL,
    PRIMARY KEY (what_if_id, rate_plans)
);
COMMENT ON TABLE amop.what_if_ladder IS 'Choices of new plans beside the others of the table, each with its bill.';
