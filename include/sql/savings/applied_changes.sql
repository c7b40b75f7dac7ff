-- Purpose: return the changes of an instance that were applied at the carrier within the billing period, each column as
--   one array: device, new rate plan, the days of the period from the change on, and the usage of the local days before
--   it (1e-6 MB and messages). A change applied after the period's end does not affect its bill.
-- Parameters: instance_id, service_provider_id, billing_period_id, cycle_start, cycle_end, time_zone, days_in_period.
-- Locks: none, reads only.
-- Repeatable: yes.
SELECT
    array_agg(change.device_id) AS device_id,
    array_agg(plan.id) AS rate_plan_id,
    array_agg(
        least(
            ceil(extract(EPOCH FROM %(cycle_end)s::timestamptz - change.applied_at) / 86400), %(days_in_period)s
        )::bigint
    ) AS days_left,
    array_agg(div(used.data_usage * 2000000 + 1048576, 2097152)::bigint) AS usage_before,
    array_agg(used.sms_usage) AS sms_before
FROM amop.rate_plan_change AS change
INNER JOIN amop.carrier_rate_plan AS plan
    ON plan.service_provider_id = %(service_provider_id)s AND change.to_rate_plan = plan.rate_plan_code
CROSS JOIN LATERAL (
    SELECT
        least(coalesce(sum(usage.data_usage), 0), 9223372036854775807::numeric / 1000000) AS data_usage,
        least(coalesce(sum(usage.sms_usage), 0), 9223372036854775807)::bigint AS sms_usage
    FROM amop.device_usage AS usage
    WHERE
        usage.device_id = change.device_id
        AND usage.billing_period_id = %(billing_period_id)s
        AND usage.usage_date < (change.applied_at AT TIME ZONE %(time_zone)s)::date
) AS used
WHERE
    change.instance_id = %(instance_id)s
    AND change.state = 'applied'
    AND change.applied_at >= %(cycle_start)s
    AND change.applied_at < %(cycle_end)s
