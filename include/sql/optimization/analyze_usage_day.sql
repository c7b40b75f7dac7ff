-- Purpose: collect statistics, so that the planner knows the number of usage days and the rows that each one matches.
-- Parameters: none. Needs usage_day.
-- Locks: none; reads a temporary table of this transaction.
-- Repeatable: yes.
ANALYZE usage_day
