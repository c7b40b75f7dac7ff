-- Purpose: the order in which the plan changes of an instance are sent, and what each of them does to the bill, from
--   which the bill after any of them follows. The saving curves of instances with pools are deleted: they were sums of
--   the SIMs' differences, which leave out the overage of a pool on the way.
-- Parameters: none.
-- Locks: rate_plan_change and saving_curve, exclusively and briefly.
-- Repeatable: the migration ledger applies it once; every file is one transaction.
ALTER TABLE amop.rate_plan_change
ADD COLUMN send_order bigint,
ADD COLUMN own_saving numeric(24, 6),
ADD COLUMN from_pool_number bigint,
ADD COLUMN from_excess_mb numeric(24, 6),
ADD COLUMN to_pool_number bigint,
ADD COLUMN to_excess_mb numeric(24, 6);
COMMENT ON COLUMN amop.rate_plan_change.send_order IS
'Place in the order of sending, from 1; null in rows of a version before this column.';
COMMENT ON COLUMN amop.rate_plan_change.own_saving IS
'The SIM''s own cost before less its own cost after, without the overage of pools; from_cost and to_cost have a share.';
COMMENT ON COLUMN amop.rate_plan_change.from_pool_number IS
'Pool that the SIM leaves, as in optimization_pool_result; null for none.';
COMMENT ON COLUMN amop.rate_plan_change.from_excess_mb IS 'Usage less allowance that it takes out of that pool.';
COMMENT ON COLUMN amop.rate_plan_change.to_pool_number IS 'Pool that the SIM enters; null for none.';
COMMENT ON COLUMN amop.rate_plan_change.to_excess_mb IS 'Usage less allowance that it brings into that pool.';

COMMENT ON TABLE amop.saving_curve IS
'Forecast saving of the first changes of an instance in the order of sending, at some places of the list.';
DELETE FROM amop.saving_curve
WHERE EXISTS (
    SELECT 1 FROM amop.optimization_pool_result AS pool
    WHERE pool.instance_id = saving_curve.instance_id
);

CREATE FUNCTION amop.applied_saving(applied_instance_id bigint)
RETURNS numeric
LANGUAGE sql STABLE
AS $$
    WITH applied AS (
        SELECT *
        FROM amop.rate_plan_change
        WHERE instance_id = applied_instance_id AND state = 'applied'
    ),

    moved AS (
        SELECT
            touched.pool_number,
            sum(touched.excess_mb) AS excess_mb
        FROM (
            SELECT from_pool_number AS pool_number, -from_excess_mb AS excess_mb FROM applied
            UNION ALL
            SELECT to_pool_number, to_excess_mb FROM applied
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
        WHERE instance_id = applied_instance_id
        ORDER BY pool_number, assignment
    )

    SELECT
        CASE
            WHEN (SELECT bool_and(own_saving IS NOT NULL) FROM applied)
                THEN (SELECT sum(own_saving) FROM applied) - coalesce((
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
COMMENT ON FUNCTION amop.applied_saving IS
'Bill of an instance before any change less the bill with its applied changes, overage in whole blocks; null if no
change was applied, or one of a version before rate_plan_change.own_saving.';
