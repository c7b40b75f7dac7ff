-- Purpose: the SIMs that an optimization speaks of, with their usage in the session's billing period: SIMs of the
--   carrier's list that are active (ACTIVATED), or have usage in the period, or were activated within it.
--   device.ctd_* belong to device.billing_period_id; for a SIM that has moved on to another period the sum of its
--   daily rows is the counter of this one.
-- Parameters: none; the function takes the provider and one of its billing periods.
-- Locks: creates a new object only.
-- Repeatable: the migration ledger applies it once.
CREATE FUNCTION amop.eligible_device(provider_id bigint, period_id bigint)
RETURNS TABLE (
    device_id bigint,
    iccid text,
    status text,
    rate_plan text,
    communication_plan text,
    data_usage bigint,
    sms_usage bigint,
    date_activated timestamptz,
    last_usage_date timestamptz,
    cycle_start timestamptz,
    cycle_end timestamptz
)
LANGUAGE sql STABLE
AS $$
    SELECT
        device.id,
        device.iccid,
        device.status,
        device.rate_plan,
        coalesce(device.communication_plan, ''),
        CASE WHEN is_same.cycle THEN device.ctd_data_usage ELSE coalesce(daily.data_usage, 0) END,
        CASE WHEN is_same.cycle THEN device.ctd_sms_usage ELSE coalesce(daily.sms_usage, 0) END,
        device.date_activated,
        device.last_usage_date,
        period.cycle_start,
        period.cycle_end
    FROM amop.device AS device
    INNER JOIN amop.billing_period AS period
        ON period.id = period_id AND device.service_provider_id = period.service_provider_id
    CROSS JOIN LATERAL (
        SELECT device.billing_period_id IS NULL OR device.billing_period_id = period.id AS cycle
    ) AS is_same
    LEFT JOIN (
        SELECT
            usage.device_id,
            sum(usage.data_usage)::bigint AS data_usage,
            sum(usage.sms_usage)::bigint AS sms_usage,
            sum(usage.voice_usage)::bigint AS voice_usage
        FROM amop.device_usage AS usage
        INNER JOIN amop.device AS moved_on ON usage.device_id = moved_on.id
        WHERE
            usage.billing_period_id = period_id
            AND moved_on.service_provider_id = provider_id
            AND moved_on.billing_period_id <> period_id
        GROUP BY usage.device_id
    ) AS daily ON NOT is_same.cycle AND device.id = daily.device_id
    WHERE
        device.service_provider_id = provider_id
        AND device.is_active
        AND (
            device.status = 'ACTIVATED'
            OR (device.date_activated >= period.cycle_start AND device.date_activated < period.cycle_end)
            OR (is_same.cycle AND (device.ctd_data_usage > 0 OR device.ctd_sms_usage > 0 OR device.ctd_voice_usage > 0))
            OR daily.data_usage > 0
            OR daily.sms_usage > 0
            OR daily.voice_usage > 0
        )
$$
