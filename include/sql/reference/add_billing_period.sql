-- Purpose: store a derived billing period, shortened so that it does not overlap a stored period of its provider.
-- Parameters: service_provider_id (bigint), moment (timestamptz, within the period), bill_year, bill_month (int),
--   cycle_start, cycle_end (timestamptz).
-- Locks: the row of the same bill month, if a changed end day makes that month longer.
-- Repeatable: the same period again only finds its row; no stored period becomes shorter.
WITH neighbour AS (
    SELECT
        max(cycle_end) FILTER (WHERE cycle_end <= %(moment)s) AS previous_end,
        min(cycle_start) FILTER (WHERE cycle_start > %(moment)s) AS following_start
    FROM amop.billing_period
    WHERE service_provider_id = %(service_provider_id)s
)

INSERT INTO amop.billing_period AS stored (service_provider_id, bill_year, bill_month, cycle_start, cycle_end)
SELECT
    %(service_provider_id)s,
    %(bill_year)s,
    %(bill_month)s,
    greatest(%(cycle_start)s, neighbour.previous_end) AS cycle_start,
    least(%(cycle_end)s, neighbour.following_start) AS cycle_end
FROM neighbour
ON CONFLICT (service_provider_id, bill_year, bill_month) DO UPDATE
    SET
        cycle_start = least(stored.cycle_start, excluded.cycle_start),
        cycle_end = greatest(stored.cycle_end, excluded.cycle_end)
RETURNING
    stored.id,
    stored.service_provider_id,
    stored.bill_year,
    stored.bill_month,
    stored.cycle_start,
    stored.cycle_end
