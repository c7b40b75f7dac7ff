-- Purpose: create a temporary table of the history's part in each SIM's projection: the weighted usage of its days but
--   the last one, and the usage of the cycle on these days. Weights and their meaning: amop.optimization.usage_history.
--   Most SIMs are older than the history. Only the few that were activated within it are looked up, because a join with
--   every SIM would take half as long again.
-- Parameters: service_provider_id, billing_period_id; of the usage days: billing_period_ids (bigint[]), earliest
--   (date), day_count, begins_at (timestamptz[], oldest first), weights (bigint[], 1e-6: those of all days for a SIM
--   whose first day is number 0, then for number 1, …), largest_factor (usage up to this is multiplied in 64 bits,
--   which is twice as fast). Without days the table is empty. Needs usage_day.
-- Locks: none; a temporary table of this transaction.
-- Repeatable: in another transaction; the table is dropped on commit.
CREATE TEMPORARY TABLE usage_history ON COMMIT DROP AS
WITH new_sim AS (
    SELECT
        device.id,
        width_bucket(device.date_activated - interval '1 microsecond', %(begins_at)s::timestamptz[]) AS first_day
    FROM amop.device AS device
    WHERE
        device.service_provider_id = %(service_provider_id)s
        AND device.date_activated > (%(begins_at)s::timestamptz[])[1]
)

SELECT
    daily.device_id,
    coalesce(sum(daily.data_usage * weight.of_day) FILTER (WHERE daily.data_usage <= %(largest_factor)s), 0)
    + coalesce(sum(daily.data_usage::numeric * weight.of_day) FILTER (WHERE daily.data_usage > %(largest_factor)s), 0)
        AS weighted_usage,
    sum(daily.data_usage) FILTER (WHERE daily.billing_period_id = %(billing_period_id)s) AS cycle_usage
FROM amop.device_usage AS daily
INNER JOIN usage_day
    ON daily.billing_period_id = usage_day.billing_period_id AND daily.usage_date = usage_day.usage_date
LEFT JOIN new_sim ON daily.device_id = new_sim.id
CROSS JOIN LATERAL (
    SELECT (%(weights)s::bigint[])[coalesce(new_sim.first_day, 0) * %(day_count)s + usage_day.number] AS of_day
) AS weight
WHERE
    daily.billing_period_id = any(%(billing_period_ids)s::bigint[])
    AND daily.usage_date >= %(earliest)s::date
    AND usage_day.number < %(day_count)s
    AND daily.data_usage > 0
GROUP BY daily.device_id
