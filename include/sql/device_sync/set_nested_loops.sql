-- Purpose: allow or avoid nested loops until this transaction ends. The statistics do not know a run that was staged a
--   minute ago: PostgreSQL then expects one row of it, and joins thousands of rows with each other one by one.
-- Parameters: setting (on, off).
-- Locks: none; in force until this transaction ends, or the next such statement.
-- Repeatable: yes.
SELECT set_config('enable_nestloop', %(setting)s, true) AS nested_loops
