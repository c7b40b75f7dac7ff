-- Purpose: let the operators' page list the plan changes of a large fleet within its time limit: a change carries what
--   it is sorted by, and the sums by plan and the saving curve are stored with the results instead of added up for each
--   view. Rows of instances whose results are still stored are filled in.
-- Parameters: none.
-- Locks: rate_plan_change, exclusively, until its rows are filled in and its indexes are built.
-- Repeatable: the migration ledger applies it once; every file is one transaction.
ALTER TABLE amop.rate_plan_change
ADD COLUMN iccid text,
ADD COLUMN projected_usage_mb numeric(24, 6),
ADD COLUMN from_cost numeric(24, 6),
ADD COLUMN to_cost numeric(24, 6);
COMMENT ON COLUMN amop.rate_plan_change.iccid IS
'Of the SIM, so that a list of changes can be sorted by it; null in rows of a version before this column.';
COMMENT ON COLUMN amop.rate_plan_change.projected_usage_mb IS
'As in optimization_device_result, which expires earlier.';
COMMENT ON COLUMN amop.rate_plan_change.from_cost IS 'As in optimization_device_result, which expires earlier.';
COMMENT ON COLUMN amop.rate_plan_change.to_cost IS 'As in optimization_device_result, which expires earlier.';

UPDATE amop.rate_plan_change
SET
    iccid = device.iccid,
    projected_usage_mb = result.projected_usage_mb,
    from_cost = result.from_cost,
    to_cost = result.to_cost
FROM amop.optimization_device_result AS result
INNER JOIN amop.device AS device ON result.device_id = device.id
WHERE rate_plan_change.instance_id = result.instance_id AND rate_plan_change.device_id = result.device_id;

CREATE INDEX rate_plan_change_by_saving
ON amop.rate_plan_change (instance_id, (from_cost - to_cost) DESC NULLS LAST, id);
CREATE INDEX rate_plan_change_by_state ON amop.rate_plan_change (instance_id, state);

CREATE TABLE amop.rate_plan_move (
    instance_id bigint NOT NULL REFERENCES amop.optimization_instance ON DELETE CASCADE,
    from_rate_plan text,
    to_rate_plan text NOT NULL,
    change_count integer NOT NULL,
    from_cost numeric(24, 6) NOT NULL,
    to_cost numeric(24, 6) NOT NULL
);
CREATE INDEX rate_plan_move_of_instance ON amop.rate_plan_move (instance_id);
COMMENT ON TABLE amop.rate_plan_move IS 'The plan changes that an instance proposed, summed up by plan.';

CREATE TABLE amop.saving_curve (
    instance_id bigint NOT NULL REFERENCES amop.optimization_instance ON DELETE CASCADE,
    change_count integer NOT NULL,
    saving numeric(24, 6) NOT NULL,
    PRIMARY KEY (instance_id, change_count)
);
COMMENT ON TABLE amop.saving_curve IS
'Forecast saving of the first changes of an instance, the largest saving first, at some places of the list.';

INSERT INTO amop.rate_plan_move (instance_id, from_rate_plan, to_rate_plan, change_count, from_cost, to_cost)
SELECT
    instance_id,
    from_rate_plan,
    to_rate_plan,
    count(*) AS change_count,
    sum(from_cost) AS from_cost,
    sum(to_cost) AS to_cost
FROM amop.rate_plan_change
WHERE from_cost IS NOT NULL
GROUP BY instance_id, from_rate_plan, to_rate_plan;

INSERT INTO amop.saving_curve (instance_id, change_count, saving)
SELECT
    ranked.instance_id,
    ranked.change_count,
    ranked.saving
FROM (
    SELECT
        instance_id,
        row_number() OVER by_saving AS change_count,
        sum(from_cost - to_cost) OVER by_saving AS saving,
        count(*) OVER (PARTITION BY instance_id) AS whole
    FROM amop.rate_plan_change
    WHERE from_cost IS NOT NULL
    WINDOW by_saving AS (
        PARTITION BY instance_id ORDER BY from_cost - to_cost DESC, device_id
        ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    )
) AS ranked
WHERE
    ranked.change_count = ranked.whole
    OR (ranked.change_count - 1) * 40 / ranked.whole < ranked.change_count * 40 / ranked.whole;
