-- Purpose: return the present time of the warehouse.
-- Parameters: none.
-- Locks: none.
-- Repeatable: reads only; the same moment within a transaction.
SELECT now() AS moment
