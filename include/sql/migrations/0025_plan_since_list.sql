-- Purpose: the plan that a SIM has now, where a plan change was applied after the last list of devices was read: until
--   the next sync amop.device has the plan before it. An optimization starts from the plan now, and keeps a SIM on its
--   plan while the outcome of a change of it is not known. The functions are those of 0009 with that plan.
-- Parameters: none.
-- Locks: the altered tables, for an instant, and rate_plan_change until its indexes are built.
-- Repeatable: the migration ledger applies it once; every file is one transaction.
CREATE INDEX rate_plan_change_applied_at ON amop.rate_plan_change (applied_at) WHERE applied_at IS NOT NULL;
CREATE INDEX rate_plan_change_in_doubt
ON amop.rate_plan_change (sent_at) WHERE state = 'approved' AND sent_at IS NOT NULL;

CREATE FUNCTION amop.plan_since_list(provider_id bigint, moment timestamptz)
RETURNS TABLE (
    device_id bigint,
    rate_plan text,
    is_in_doubt boolean
)
LANGUAGE sql STABLE
AS $$
    WITH list AS (
        SELECT run.started_at
        FROM amop.device_sync_run AS run
        WHERE
            run.service_provider_id = provider_id
            AND run.devices_merged_at IS NOT NULL
            AND run.replayed_run_id IS NULL
        ORDER BY run.devices_merged_at DESC
        LIMIT 1
    ),

    since AS (
        SELECT
            change.id,
            change.device_id,
            change.applied_at AS changed_at,
            CASE change.state WHEN 'applied' THEN change.to_rate_plan ELSE change.verified_rate_plan END AS rate_plan,
            false AS is_in_doubt
        FROM amop.rate_plan_change AS change
        INNER JOIN list ON change.applied_at >= list.started_at
        WHERE change.applied_at < moment
        UNION ALL
        SELECT
            change.id,
            change.device_id,
            change.sent_at,
            NULL::text,
            true
        FROM amop.rate_plan_change AS change
        INNER JOIN list ON change.sent_at >= list.started_at
        WHERE change.state = 'approved' AND change.sent_at < moment
    )

    SELECT
        since.device_id,
        (array_agg(since.rate_plan ORDER BY since.changed_at DESC, since.id DESC) FILTER (
            WHERE since.rate_plan IS NOT NULL
        ))[1],
        bool_or(since.is_in_doubt)
    FROM since
    INNER JOIN amop.device AS own ON since.device_id = own.id
    WHERE own.service_provider_id = provider_id
    GROUP BY since.device_id
$$;
COMMENT ON FUNCTION amop.plan_since_list IS
'SIMs whose plan was changed before a moment and after the last list of devices was begun: the plan that was applied, or
that the carrier showed when the change was verified; is_in_doubt: a change was sent, and its outcome is not known.';

ALTER TABLE amop.optimization_device
ADD COLUMN plan_is_applied boolean NOT NULL DEFAULT false,
DROP CONSTRAINT optimization_device_change_limit_check,
ADD CONSTRAINT optimization_device_change_limit_check CHECK (
    change_limit IN ('change_in_doubt', 'maximum_changes_per_sim', 'minimum_days_on_plan')
);
COMMENT ON COLUMN amop.optimization_device.plan_is_applied IS
'True: current_rate_plan was applied after the last list of devices was begun.';
COMMENT ON COLUMN amop.optimization_device.change_limit IS
'Why a SIM that may be placed keeps its plan for now: a change of it is in doubt, or the provider''s limit on the
changes of a SIM; null: it may change.';

ALTER TABLE amop.optimization_instance
ADD COLUMN applied_plan_count integer NOT NULL DEFAULT 0,
ADD COLUMN change_in_doubt_count integer NOT NULL DEFAULT 0;
COMMENT ON COLUMN amop.optimization_instance.applied_plan_count IS
'SIMs whose present plan was applied after the last list of devices was begun; costs and savings start from it.';
COMMENT ON COLUMN amop.optimization_instance.change_in_doubt_count IS
'SIMs that keep their plan because a change of it was sent and its outcome was not known.';

CREATE OR REPLACE FUNCTION amop.eligible_device_of_closed_period(provider_id bigint, period_id bigint)
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

    since_list AS (
        SELECT
            since.device_id,
            since.rate_plan
        FROM period
        CROSS JOIN LATERAL amop.plan_since_list(provider_id, period.cycle_end) AS since
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
            ELSE coalesce(since_list.rate_plan, device.rate_plan)
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
    LEFT JOIN since_list ON device.id = since_list.device_id
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
            OR (
                (device.is_active OR upper(device.status) = 'RETIRED')
                AND amop.was_activated_within(device.id, period.cycle_start, period.cycle_end)
            )
        )
$$;

CREATE OR REPLACE FUNCTION amop.eligible_device_of_open_period(provider_id bigint, period_id bigint)
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
        coalesce(since_list.rate_plan, device.rate_plan),
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
    LEFT JOIN amop.plan_since_list(provider_id, 'infinity') AS since_list ON device.id = since_list.device_id
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
            OR amop.was_activated_within(device.id, period.cycle_start, period.cycle_end)
        )
$$;
