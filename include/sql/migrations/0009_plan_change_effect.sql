-- Purpose: when a plan change counts, the limits on the changes of a SIM, the plans that SIMs left within a period;
--   and the SIMs that were active for a part of a period, which the carrier bills although they have no usage.
--   The functions are those of 0008 with one more kind of SIM: on the carrier's list, or retired, and ACTIVATED at some
--   time within the period by the history of the list.
-- Parameters: none.
-- Locks: the altered tables, for an instant.
-- Repeatable: the migration ledger applies it once; every file is one transaction.
ALTER TABLE amop.service_provider
ADD COLUMN upgrade_effect text NOT NULL DEFAULT 'whole_cycle'
CHECK (upgrade_effect IN ('whole_cycle', 'from_change', 'next_cycle')),
ADD COLUMN downgrade_effect text NOT NULL DEFAULT 'whole_cycle'
CHECK (downgrade_effect IN ('whole_cycle', 'from_change', 'next_cycle')),
ADD COLUMN maximum_changes_per_sim integer CHECK (maximum_changes_per_sim >= 0),
ADD COLUMN minimum_days_on_plan integer NOT NULL DEFAULT 0 CHECK (minimum_days_on_plan >= 0),
ADD CONSTRAINT service_provider_one_effect_within_a_period CHECK (
    upgrade_effect = downgrade_effect OR 'next_cycle' IN (upgrade_effect, downgrade_effect)
);
COMMENT ON COLUMN amop.service_provider.upgrade_effect IS
'From when a change to a plan of the same or a higher monthly charge counts: whole_cycle, from_change or next_cycle.';
COMMENT ON COLUMN amop.service_provider.downgrade_effect IS
'From when a change to a plan of a lower monthly charge counts: whole_cycle, from_change or next_cycle.';
COMMENT ON COLUMN amop.service_provider.maximum_changes_per_sim IS
'Most plan changes of a SIM in a billing period; null = no limit.';
COMMENT ON COLUMN amop.service_provider.minimum_days_on_plan IS
'Fewest days after a plan change before the SIM''s plan may change again.';

ALTER TABLE amop.optimization_device
ADD COLUMN later_sms_usage bigint NOT NULL DEFAULT 0,
ADD COLUMN change_limit text CHECK (change_limit IN ('maximum_changes_per_sim', 'minimum_days_on_plan'));
COMMENT ON COLUMN amop.optimization_device.later_sms_usage IS
'Messages expected from usage_as_of to the end of the period, where a plan change counts from its day; else 0.';
COMMENT ON COLUMN amop.optimization_device.change_limit IS
'The provider''s limit on the changes of a SIM by which this one keeps its plan for now; null: it may change.';

CREATE TABLE amop.optimization_left_plan (
    instance_id bigint NOT NULL REFERENCES amop.optimization_instance ON DELETE CASCADE,
    device_id bigint NOT NULL,
    left_at timestamptz NOT NULL,
    rate_plan_id bigint NOT NULL,
    days smallint NOT NULL CHECK (days > 0),
    usage_mb numeric(24, 6) NOT NULL,
    sms_usage bigint NOT NULL,
    PRIMARY KEY (instance_id, device_id, left_at)
);
COMMENT ON TABLE amop.optimization_left_plan IS
'Plans that the SIMs of an instance had left within the period by usage_as_of, where a plan change counts from its day:
they are billed for their days. Without such plans a SIM is billed on its present plan only.';
COMMENT ON COLUMN amop.optimization_left_plan.left_at IS 'When the SIM was moved to its next plan.';
COMMENT ON COLUMN amop.optimization_left_plan.days IS
'Days of the period on this plan; the day of the change is not one.';
COMMENT ON COLUMN amop.optimization_left_plan.usage_mb IS 'MB on this plan: those of the local days before the change.';

CREATE VIEW amop.device_plan_change AS
WITH listed AS (
    SELECT
        history.device_id,
        history.rate_plan,
        history.as_of,
        lag(history.rate_plan) OVER by_day AS rate_plan_before,
        lag(history.as_of) OVER by_day AS as_of_before
    FROM amop.device_history AS history
    WHERE history.rate_plan IS NOT NULL
    WINDOW by_day AS (PARTITION BY history.device_id ORDER BY history.valid_from)
)

SELECT
    change.device_id,
    change.from_rate_plan,
    change.to_rate_plan,
    change.applied_at AS changed_at
FROM amop.rate_plan_change AS change
WHERE change.state = 'applied'
UNION ALL
SELECT
    listed.device_id,
    listed.rate_plan_before,
    listed.rate_plan,
    listed.as_of
FROM listed
WHERE
    listed.rate_plan <> listed.rate_plan_before
    AND NOT EXISTS (
        SELECT 1 FROM amop.rate_plan_change AS own
        WHERE
            own.device_id = listed.device_id
            AND own.state = 'applied'
            AND own.to_rate_plan = listed.rate_plan
            AND own.applied_at > listed.as_of_before
            AND own.applied_at <= listed.as_of
    );
COMMENT ON VIEW amop.device_plan_change IS
'Changes of the plans of SIMs: those that were applied, and those that the carrier''s list showed and another party
made; their time is that of the sync which saw them first.';
CREATE INDEX rate_plan_change_applied ON amop.rate_plan_change (device_id) WHERE state = 'applied';

CREATE FUNCTION amop.was_activated_within(sim_id bigint, begins timestamptz, ends timestamptz)
RETURNS boolean
LANGUAGE sql STABLE
AS $$
    SELECT EXISTS (
        SELECT 1 FROM amop.device_history AS listed
        WHERE
            listed.device_id = sim_id
            AND upper(listed.status) = 'ACTIVATED'
            AND listed.as_of < ends
            AND NOT EXISTS (
                SELECT 1 FROM amop.device_history AS later
                WHERE
                    later.device_id = sim_id
                    AND later.valid_from > listed.valid_from
                    AND later.as_of <= begins
            )
    )
$$;
COMMENT ON FUNCTION amop.was_activated_within IS
'Whether the carrier listed a SIM as ACTIVATED at some time between two moments.';

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
            OR amop.was_activated_within(device.id, period.cycle_start, period.cycle_end)
        )
$$;
