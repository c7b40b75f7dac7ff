-- Purpose: create a temporary table of the usage days of a projection, oldest first, to be joined with the daily usage.
-- Parameters: usage_dates (date[]), billing_period_ids (bigint[]).
-- Locks: none; a temporary table of this transaction.
-- Repeatable: in another transaction; the table is dropped on commit.
CREATE TEMPORARY TABLE usage_day ON COMMIT DROP AS
SELECT
    day.usage_date,
    day.billing_period_id,
    day.number::integer AS number
FROM
    unnest(%(usage_dates)s::date[], %(billing_period_ids)s::bigint[])
    WITH ORDINALITY AS day (usage_date, billing_period_id, number)
