-- Purpose: create the temporary table that the order of sending of the plan changes is copied into, with what each of
--   them does to the bill: 1e-6 of the currency, 1e-6 MB, pool -1 = none.
-- Parameters: none.
-- Locks: none; a temporary table of this transaction.
-- Repeatable: in another transaction; the table is dropped on commit.
CREATE TEMPORARY TABLE change_order (
    device_id bigint NOT NULL,
    send_order bigint NOT NULL,
    own_saving bigint NOT NULL,
    from_pool bigint NOT NULL,
    from_excess bigint NOT NULL,
    to_pool bigint NOT NULL,
    to_excess bigint NOT NULL
) ON COMMIT DROP
