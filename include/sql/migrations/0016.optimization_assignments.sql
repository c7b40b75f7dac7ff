-- Purpose: the base and the solved assignment of an instance move out of the row of each SIM into narrow tables that a
--   COPY fills, instead of an update of a million wide rows. No key is checked row by
--   row; the rows of an instance are written and replaced as a whole.
-- Parameters: none.
-- Locks: ACCESS EXCLUSIVE on optimization_device for a moment; the rows of unfinished instances are copied.
-- Repeatable: the migration ledger applies it once; every file is one transaction.
CREATE TABLE amop.optimization_base_assignment (
    instance_id bigint NOT NULL,
    device_id bigint NOT NULL,
    rate_plan_id bigint NOT NULL
);
CREATE INDEX optimization_base_assignment_instance ON amop.optimization_base_assignment (instance_id);
CREATE TABLE amop.optimization_solved_assignment (
    instance_id bigint NOT NULL,
    device_id bigint NOT NULL,
    rate_plan_id bigint NOT NULL
);
CREATE INDEX optimization_solved_assignment_instance ON amop.optimization_solved_assignment (instance_id);
INSERT INTO amop.optimization_base_assignment (instance_id, device_id, rate_plan_id)
SELECT
    instance_id,
    device_id,
    base_rate_plan_id
FROM amop.optimization_device
WHERE base_rate_plan_id IS NOT NULL;
INSERT INTO amop.optimization_solved_assignment (instance_id, device_id, rate_plan_id)
SELECT
    instance_id,
    device_id,
    solved_rate_plan_id
FROM amop.optimization_device
WHERE solved_rate_plan_id IS NOT NULL;
ALTER TABLE amop.optimization_device DROP COLUMN base_rate_plan_id, DROP COLUMN solved_rate_plan_id;
ALTER TABLE amop.optimization_device SET (fillfactor = 100);
