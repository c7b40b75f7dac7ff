-- Purpose: an assignment into its temporary table, as binary records.
-- Parameters: none; the records follow.
-- Locks: none; a temporary table of this transaction.
-- Repeatable: dropped at the end of the transaction.
COPY assignment (device_id, rate_plan_id) FROM STDIN WITH (FORMAT BINARY)
