-- Purpose: create a temporary table of the pools with their usage, projection, allowance and overage.
-- Parameters: none. Needs finding_sim.
-- Locks: none; a temporary table of this transaction.
-- Repeatable: in another transaction; the table is dropped on commit.
CREATE TEMPORARY TABLE finding_pool ON COMMIT DROP AS
SELECT
    pool.*,
    amop.overage_cost(
        pool.projected_mb, pool.allowance_mb, pool.data_per_overage_charge, pool.overage_rate
    ) AS overage_cost
FROM (
    SELECT
        sim.pool_name,
        count(*) AS sims,
        sum(sim.used_mb) AS used_mb,
        sum(sim.projected_mb) AS projected_mb,
        sum(sim.allowance_mb) AS allowance_mb,
        max(plan.data_per_overage_charge) AS data_per_overage_charge,
        max(plan.overage_rate) AS overage_rate
    FROM finding_sim AS sim
    INNER JOIN amop.carrier_rate_plan AS plan ON sim.rate_plan_id = plan.id
    WHERE sim.pool_name IS NOT NULL
    GROUP BY sim.pool_name
) AS pool
