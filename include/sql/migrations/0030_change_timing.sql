-- Purpose: doubtful plan changes wait for the last optimization that still fits: the provider's setting, how certain
--   each change is, and why a change waits; and what a part of an instance's changes does to the bill.
-- Parameters: none.
-- Locks: service_provider, optimization_device_forecast and rate_plan_change, exclusively and briefly.
-- Repeatable: the migration ledger applies it once; every file is one transaction.
ALTER TABLE amop.service_provider
ADD COLUMN doubtful_changes text NOT NULL DEFAULT 'at_once'
CHECK (doubtful_changes IN ('wait_if_limited', 'wait', 'at_once'));
COMMENT ON COLUMN amop.service_provider.doubtful_changes IS
'With projection_method scenarios, whether doubtful plan changes wait for the last optimization of the period that still
fits: all, none (at_once), or those of SIMs whose plan could not be changed again until then.';

ALTER TABLE amop.optimization_device_forecast
ADD COLUMN expected_regret bigint NOT NULL DEFAULT 0,
ADD COLUMN expected_saving bigint NOT NULL DEFAULT 0,
ADD COLUMN certainty bigint NOT NULL DEFAULT 1000000 CHECK (certainty BETWEEN 0 AND 1000000),
ADD COLUMN is_doubtful bigint NOT NULL DEFAULT 0 CHECK (is_doubtful IN (0, 1));
COMMENT ON COLUMN amop.optimization_device_forecast.expected_regret IS
'Mean cost of the chosen plan less that of the cheapest one in the scenario, with the data of pools at its mean price,
1e-6 of the currency.';
COMMENT ON COLUMN amop.optimization_device_forecast.expected_saving IS
'Mean cost of the present plan less that of the new one at these prices, 1e-6 of the currency; 0 without a choice.';
COMMENT ON COLUMN amop.optimization_device_forecast.certainty IS
'Share of the scenarios in which no plan is cheaper for the SIM than the chosen one at these prices, in 1e-6.';
COMMENT ON COLUMN amop.optimization_device_forecast.is_doubtful IS
'1 for a plan change whose regret is high relative to its expected saving, else 0.';

ALTER TABLE amop.rate_plan_change
ADD COLUMN certainty numeric(7, 6),
ADD COLUMN is_doubtful boolean NOT NULL DEFAULT false,
ADD COLUMN waits_reason text;
COMMENT ON COLUMN amop.rate_plan_change.certainty IS
'Share of the scenarios in which no plan is cheaper for the SIM than the new one; null without scenarios.';
COMMENT ON COLUMN amop.rate_plan_change.is_doubtful IS
'True where the expected regret of the change is high relative to its expected saving.';
COMMENT ON COLUMN amop.rate_plan_change.waits_reason IS
'Why a proposed change is not sent by this instance but waits for a later one; null for one that does not wait.';

CREATE INDEX rate_plan_change_waiting ON amop.rate_plan_change (instance_id) WHERE waits_reason IS NOT NULL;

CREATE FUNCTION amop.saving_of_changes(of_instance_id bigint, counted_state text)
RETURNS numeric
LANGUAGE sql STABLE
AS $$
    WITH counted AS (
        SELECT *
        FROM amop.rate_plan_change
        WHERE
            instance_id = of_instance_id
            AND (state = counted_state OR (counted_state = 'any' AND waits_reason IS NULL))
    ),

    moved AS (
        SELECT
            touched.pool_number,
            sum(touched.excess_mb) AS excess_mb
        FROM (
            SELECT from_pool_number AS pool_number, -from_excess_mb AS excess_mb FROM counted
            UNION ALL
            SELECT to_pool_number, to_excess_mb FROM counted
        ) AS touched
        WHERE touched.pool_number IS NOT NULL
        GROUP BY touched.pool_number
    ),

    -- A pool that no SIM is in before the changes has a row of the solved plans only.
    pool AS (
        SELECT DISTINCT ON (pool_number)
            pool_number,
            overage_rate,
            data_per_overage_charge AS block_mb,
            CASE WHEN assignment = 'current' THEN usage_mb - included_mb ELSE 0 END AS excess_mb
        FROM amop.optimization_pool_result
        WHERE instance_id = of_instance_id
        ORDER BY pool_number, assignment
    )

    SELECT
        CASE
            WHEN (SELECT bool_and(own_saving IS NOT NULL) FROM counted)
                THEN (SELECT sum(own_saving) FROM counted) - coalesce((
                    SELECT
                        sum(pool.overage_rate * (
                            div(greatest(0, pool.excess_mb + moved.excess_mb) + pool.block_mb - 0.000001, pool.block_mb)
                            - div(greatest(0, pool.excess_mb) + pool.block_mb - 0.000001, pool.block_mb)
                        ))
                    FROM moved
                    INNER JOIN pool ON moved.pool_number = pool.pool_number
                ), 0)
        END
$$;
COMMENT ON FUNCTION amop.saving_of_changes IS
'Bill of an instance before any change less the bill with those of its changes that are in a state, or with all (any)
that do not wait, overage in whole blocks; null without such a change, or with one of a version before own_saving.';

CREATE OR REPLACE FUNCTION amop.applied_saving(applied_instance_id bigint)
RETURNS numeric
LANGUAGE sql STABLE
AS $$
    SELECT amop.saving_of_changes(applied_instance_id, 'applied')
$$;
