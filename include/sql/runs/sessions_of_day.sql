-- Purpose: summarize the sessions of a provider and billing period that were opened since the start of a local day.
-- Parameters: service_provider_id, billing_period_id, day_start (timestamptz).
-- Locks: none beyond reading.
-- Repeatable: reads only.
WITH of_day AS (
    SELECT
        id,
        status,
        ended_at,
        max(id) FILTER (WHERE status = 'complete') OVER () AS last_completed_id,
        max(id) OVER () AS latest_id
    FROM amop.optimization_session
    WHERE
        service_provider_id = %(service_provider_id)s
        AND billing_period_id = %(billing_period_id)s
        AND started_at >= %(day_start)s
)

SELECT
    coalesce(bool_or(status = 'complete'), false) AS has_completed,
    count(*) FILTER (WHERE status = 'failed' AND id > coalesce(last_completed_id, 0)) AS consecutive_failures,
    max(ended_at) FILTER (WHERE status = 'failed' AND id > coalesce(last_completed_id, 0)) AS last_failed_at,
    coalesce(bool_or(id = latest_id AND status = 'cancelled'), false) AS latest_was_cancelled
FROM of_day
