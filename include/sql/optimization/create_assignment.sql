-- Purpose: where an assignment lands by COPY before it is written to the SIMs of the instance.
-- Parameters: none.
-- Locks: none; a temporary table of this transaction.
-- Repeatable: dropped at the end of the transaction.
CREATE TEMPORARY TABLE assignment (
    device_id bigint NOT NULL,
    rate_plan_id bigint NOT NULL
) ON COMMIT DROP
