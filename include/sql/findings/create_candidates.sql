-- Purpose: create the temporary table of everything that a check finds.
-- Parameters: none.
-- Locks: none; a temporary table of this transaction.
-- Repeatable: in another transaction; the table is dropped on commit.
CREATE TEMPORARY TABLE finding_candidate (
    kind text NOT NULL,
    subject text NOT NULL,
    occurrence text NOT NULL,
    device_id bigint,
    amount numeric(24, 6) NOT NULL,
    facts jsonb NOT NULL
) ON COMMIT DROP
