-- Purpose: where the costs of the SIMs land by COPY, in 1e-6 of the currency.
-- Parameters: none.
-- Locks: none; a temporary table of this transaction.
-- Repeatable: dropped at the end of the transaction.
CREATE TEMPORARY TABLE device_cost (
    device_id bigint NOT NULL,
    from_cost bigint NOT NULL,
    to_cost bigint NOT NULL
) ON COMMIT DROP
