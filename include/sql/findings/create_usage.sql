-- Purpose: create a temporary table of the SIMs' usage in the recent days and in the history before them. Squares are
--   approximate: they only show whether usage is unusual, and are no part of any money.
-- Parameters: service_provider_id, history_begins_at, history_begins_on, recent_begins_on, usage_date; both beginnings
--   are those of a sync, whose own day is not included. Without a history the table is empty.
-- Locks: none; a temporary table of this transaction.
-- Repeatable: in another transaction; the table is dropped on commit.
CREATE TEMPORARY TABLE finding_usage ON COMMIT DROP AS
SELECT
    daily.device_id,
    coalesce(sum(daily.data_usage) FILTER (WHERE daily.usage_date > %(recent_begins_on)s::date), 0) AS recent_bytes,
    coalesce(sum(daily.data_usage) FILTER (WHERE daily.usage_date <= %(recent_begins_on)s::date), 0) AS history_bytes,
    coalesce(
        sum(daily.data_usage::double precision * daily.data_usage)
        FILTER (WHERE daily.usage_date <= %(recent_begins_on)s::date),
        0
    ) AS history_squares
FROM amop.device_usage AS daily
WHERE
    daily.billing_period_id = any(
        array(
            SELECT period.id FROM amop.billing_period AS period
            WHERE
                period.service_provider_id = %(service_provider_id)s
                AND period.cycle_end > %(history_begins_at)s::timestamptz
        )
    )
    AND daily.usage_date > %(history_begins_on)s::date
    AND daily.usage_date <= %(usage_date)s::date
    AND daily.data_usage > 0
GROUP BY daily.device_id
