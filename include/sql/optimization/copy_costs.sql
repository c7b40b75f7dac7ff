-- Purpose: the costs of the SIMs into their temporary table, as binary records.
-- Parameters: none; the records follow.
-- Locks: none; a temporary table of this transaction.
-- Repeatable: dropped at the end of the transaction.
COPY device_cost (device_id, from_cost, to_cost) FROM STDIN WITH (FORMAT BINARY)
