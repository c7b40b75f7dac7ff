-- Purpose: give the planner the number of SIMs that the list changes: a temporary table has no statistics.
-- Parameters: none; needs list_change of the same transaction.
-- Locks: none beyond reading.
-- Repeatable: yes.
ANALYZE list_change
