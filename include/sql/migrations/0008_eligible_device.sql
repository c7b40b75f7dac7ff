-- Purpose: the SIMs that an optimization covers, with their usage in one billing period, which may be closed.
--   Open at the given moment: SIMs of the carrier's list that are active (ACTIVATED), or have usage in the period, or
--   were activated within it; a retired SIM also if the list no longer has it, because the carrier bills it to the end
--   of the cycle. sms_is_read is false where 0 messages does not mean that there were none. device.ctd_* are the
--   counters of device.billing_period_id; for a SIM that is in another period by now the sum of its daily rows is the
--   counter of this one. Closed at the given moment: SIMs, on the list or not, with usage in their daily rows, or
--   activated within the period, or active now and activated before its end, or that were in its last optimization.
--   Usage is the sum of the daily rows; a SIM without any that is still in the period has its counters. The plan is the
--   one of the period. Once a later period has been synced it is taken from, in this order: the last change applied
--   within the period, the last optimization of the period, the plan before the first change applied after the period,
--   today's list. Daily rows of a SIM whose counter was broken twice add up beyond bigint: the sum is then the largest
--   bigint, and the SIM is excluded like any other with a broken counter.
-- Parameters: none; the functions take the provider, one of its billing periods and the moment that is "now".
-- Locks: creates new objects only.
-- Repeatable: the migration ledger applies it once; every file is one transaction.
CREATE FUNCTION amop.eligible_device_of_closed_period(provider_id bigint, period_id bigint)
RETURNS TABLE (
    device_id bigint,
    iccid text,
    status text,
    rate_plan text,
    communication_plan text,
    data_usage bigint,
    sms_usage bigint,
    sms_is_read boolean,
    date_activated timestamptz,
    last_usage_date timestamptz,
    cycle_start timestamptz,
    cycle_end timestamptz
)
LANGUAGE sql STABLE
AS $$
    WITH period AS (
        SELECT
            billing_period.id,
            billing_period.cycle_start,
            billing_period.cycle_end,
            EXISTS (
                SELECT 1
                FROM amop.device_sync_run AS run
                INNER JOIN amop.billing_period AS later ON run.billing_period_id = later.id
                WHERE
                    run.service_provider_id = provider_id
                    AND run.devices_merged_at IS NOT NULL
                    AND later.cycle_start >= billing_period.cycle_end
            ) AS is_synced_since
        FROM amop.billing_period AS billing_period
        WHERE billing_period.id = period_id AND billing_period.service_provider_id = provider_id
    ),

    last_optimization AS (
        SELECT
            instance.id,
            instance.usage_as_of
        FROM amop.optimization_instance AS instance
        INNER JOIN amop.optimization_session AS session ON instance.session_id = session.id
        INNER JOIN period ON session.billing_period_id = period.id
        WHERE instance.inputs_read_at IS NOT NULL AND instance.usage_as_of < period.cycle_end
        ORDER BY instance.usage_as_of DESC, instance.id DESC
        LIMIT 1
    ),

    optimized AS (
        SELECT
            sim.device_id,
            sim.current_rate_plan
        FROM amop.optimization_device AS sim
        INNER JOIN last_optimization ON sim.instance_id = last_optimization.id
    ),

    applied AS (
        SELECT
            change.id,
            change.device_id,
            change.from_rate_plan,
            change.to_rate_plan,
            change.applied_at
        FROM amop.rate_plan_change AS change
        INNER JOIN amop.optimization_instance AS instance ON change.instance_id = instance.id
        INNER JOIN amop.optimization_session AS session ON instance.session_id = session.id
        WHERE session.service_provider_id = provider_id AND change.state = 'applied'
    ),

    changed_within AS (
        SELECT DISTINCT ON (applied.device_id)
            applied.device_id,
            applied.to_rate_plan
        FROM applied
        INNER JOIN period ON applied.applied_at < period.cycle_end
        WHERE applied.applied_at >= coalesce(
            (SELECT last_optimization.usage_as_of FROM last_optimization), period.cycle_start
        )
        ORDER BY applied.device_id, applied.applied_at DESC, applied.id DESC
    ),

    changed_since AS (
        SELECT DISTINCT ON (applied.device_id)
            applied.device_id,
            applied.from_rate_plan
        FROM applied
        INNER JOIN period ON applied.applied_at >= period.cycle_end
        ORDER BY applied.device_id, applied.applied_at, applied.id
    ),

    daily AS (
        SELECT
            usage.device_id,
            least(sum(usage.data_usage), 9223372036854775807)::bigint AS data_usage,
            least(sum(usage.sms_usage), 9223372036854775807)::bigint AS sms_usage,
            least(sum(usage.voice_usage), 9223372036854775807)::bigint AS voice_usage
        FROM amop.device_usage AS usage
        WHERE usage.billing_period_id = period_id
        GROUP BY usage.device_id
    )

    SELECT
        device.id,
        device.iccid,
        device.status,
        CASE
            WHEN period.is_synced_since THEN coalesce(
                changed_within.to_rate_plan, optimized.current_rate_plan, changed_since.from_rate_plan,
                device.rate_plan
            )
            ELSE device.rate_plan
        END,
        coalesce(device.communication_plan, ''),
        used.data_usage,
        used.sms_usage,
        true,
        device.date_activated,
        device.last_usage_date,
        period.cycle_start,
        period.cycle_end
    FROM amop.device AS device
    CROSS JOIN period
    LEFT JOIN daily ON device.id = daily.device_id
    LEFT JOIN optimized ON device.id = optimized.device_id
    LEFT JOIN changed_within ON device.id = changed_within.device_id
    LEFT JOIN changed_since ON device.id = changed_since.device_id
    CROSS JOIN LATERAL (
        SELECT
            coalesce(daily.data_usage, own.share * device.ctd_data_usage, 0) AS data_usage,
            coalesce(daily.sms_usage, own.share * device.ctd_sms_usage, 0) AS sms_usage,
            coalesce(daily.voice_usage, own.share * device.ctd_voice_usage, 0) AS voice_usage
        FROM (SELECT CASE WHEN device.billing_period_id = period.id THEN 1 END::bigint AS share) AS own
    ) AS used
    WHERE
        device.service_provider_id = provider_id
        AND (
            used.data_usage > 0
            OR used.sms_usage > 0
            OR used.voice_usage > 0
            OR (device.date_activated >= period.cycle_start AND device.date_activated < period.cycle_end)
            OR optimized.device_id IS NOT NULL
            OR (
                device.is_active
                AND device.status = 'ACTIVATED'
                AND coalesce(device.date_activated < period.cycle_end, true)
            )
        )
$$;

CREATE FUNCTION amop.eligible_device_of_open_period(provider_id bigint, period_id bigint)
RETURNS TABLE (
    device_id bigint,
    iccid text,
    status text,
    rate_plan text,
    communication_plan text,
    data_usage bigint,
    sms_usage bigint,
    sms_is_read boolean,
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
        device.sms_is_read OR NOT is_same.cycle,
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
            least(sum(usage.data_usage), 9223372036854775807)::bigint AS data_usage,
            least(sum(usage.sms_usage), 9223372036854775807)::bigint AS sms_usage,
            least(sum(usage.voice_usage), 9223372036854775807)::bigint AS voice_usage
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
        AND (device.is_active OR upper(device.status) = 'RETIRED')
        AND (
            (device.is_active AND device.status = 'ACTIVATED')
            OR (device.date_activated >= period.cycle_start AND device.date_activated < period.cycle_end)
            OR (is_same.cycle AND (device.ctd_data_usage > 0 OR device.ctd_sms_usage > 0 OR device.ctd_voice_usage > 0))
            OR daily.data_usage > 0
            OR daily.sms_usage > 0
            OR daily.voice_usage > 0
        )
$$;

CREATE FUNCTION amop.eligible_device(provider_id bigint, period_id bigint, moment timestamptz DEFAULT now())
RETURNS TABLE (
    device_id bigint,
    iccid text,
    status text,
    rate_plan text,
    communication_plan text,
    data_usage bigint,
    sms_usage bigint,
    sms_is_read boolean,
    date_activated timestamptz,
    last_usage_date timestamptz,
    cycle_start timestamptz,
    cycle_end timestamptz
)
LANGUAGE sql STABLE
AS $$
    SELECT eligible.*
    FROM amop.eligible_device_of_open_period(provider_id, period_id) AS eligible
    WHERE (SELECT period.cycle_end <= moment FROM amop.billing_period AS period WHERE period.id = period_id) IS NOT TRUE
    UNION ALL
    SELECT eligible.*
    FROM amop.eligible_device_of_closed_period(provider_id, period_id) AS eligible
    WHERE (SELECT period.cycle_end <= moment FROM amop.billing_period AS period WHERE period.id = period_id)
$$;

COMMENT ON FUNCTION amop.eligible_device_of_closed_period IS 'The SIMs of a billing period that has ended.';
COMMENT ON FUNCTION amop.eligible_device_of_open_period IS 'The SIMs of a billing period that has not ended.';
COMMENT ON FUNCTION amop.eligible_device IS
'The SIMs that an optimization of a billing period covers; data_usage is in bytes, sms_usage in messages.';
