-- Purpose: the rows of an instance are written together, so that a block range index finds them as well as a tree of
--   one entry for each SIM, which took as long to write as the rows themselves.
-- Parameters: none.
-- Locks: ACCESS EXCLUSIVE on both tables while they are read once.
-- Repeatable: the migration ledger applies it once; every file is one transaction.
DROP INDEX amop.optimization_base_assignment_instance;
CREATE INDEX optimization_base_assignment_instance ON amop.optimization_base_assignment
USING brin (instance_id) WITH (pages_per_range = 16, autosummarize = on);
DROP INDEX amop.optimization_solved_assignment_instance;
CREATE INDEX optimization_solved_assignment_instance ON amop.optimization_solved_assignment
USING brin (instance_id) WITH (pages_per_range = 16, autosummarize = on);
