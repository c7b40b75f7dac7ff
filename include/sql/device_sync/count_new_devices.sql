-- Purpose: count the listed SIMs that the provider does not have yet. Run before the merge.
-- Parameters: none; needs list_change of the same transaction.
-- Locks: none beyond reading.
-- Repeatable: reads only.
SELECT count(*) AS devices_inserted
FROM list_change
WHERE device_id IS NULL
