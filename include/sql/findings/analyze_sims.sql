-- Purpose: collect statistics of the SIMs of a check, so that the planner joins them by hash.
-- Parameters: none. Needs finding_sim.
-- Locks: none; reads a temporary table of this transaction.
-- Repeatable: yes.
ANALYZE finding_sim
