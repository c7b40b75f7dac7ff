-- Purpose: create the temporary table that the costs of the SIMs are copied into, in 1e-6 of the currency.
-- Parameters: none.
-- Locks: none; a temporary table of this transaction.
-- Repeatable: in another transaction; the table is dropped on commit.
CREATE TEMPORARY TABLE device_cost (
    device_id bigint NOT NULL,
    from_cost bigint NOT NULL,
    to_cost bigint NOT NULL
) ON COMMIT DROP
