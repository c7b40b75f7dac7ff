-- Purpose: tell the planner how few usage days there are and how many rows of daily usage each one matches.
-- Parameters: none.
-- Locks: none beyond reading a temporary table of this transaction.
-- Repeatable: counts again.
ANALYZE usage_day
