-- Purpose: collect the SIMs whose usage a run reads, as its list has them or, unlisted, as they were: active SIMs, and
--   retired ones that belong to the billing period (is_counted): the carrier bills them to the end of the cycle. A SIM
--   that was retired already when it was first seen within the period may belong to it (is_new_retired). Each SIM has
--   the rate plans that it was on within the period, in its history and before this list; has_moved: several.
-- Parameters: run_id.
-- Locks: none; creates a temporary table in this transaction.
-- Repeatable: the table is dropped at the end of the transaction.
CREATE TEMPORARY TABLE present_device ON COMMIT DROP AS
WITH run AS (
    SELECT
        run.id,
        run.service_provider_id,
        run.billing_period_id,
        period.cycle_start
    FROM amop.device_sync_run AS run
    INNER JOIN amop.billing_period AS period ON run.billing_period_id = period.id
    WHERE run.id = %(run_id)s
),

staged AS (
    SELECT
        iccid,
        status,
        rate_plan,
        communication_plan
    FROM amop.latest_staged_device
    WHERE run_id = %(run_id)s
),

known AS (
    SELECT
        device.id,
        device.iccid,
        device.status,
        device.rate_plan,
        device.communication_plan,
        device.is_active,
        device.ctd_data_usage,
        device.billing_period_id IS NULL AS was_never_read,
        device.billing_period_id = run.billing_period_id AS is_same_cycle
    FROM amop.device AS device
    INNER JOIN run ON device.service_provider_id = run.service_provider_id
),

past AS (
    SELECT
        history.device_id,
        history.status,
        history.rate_plan,
        history.as_of,
        lead(history.as_of) OVER (PARTITION BY history.device_id ORDER BY history.valid_from) AS ended_at
    FROM amop.device_history AS history
    INNER JOIN known ON history.device_id = known.id
),

within AS (
    SELECT
        past.device_id,
        array_agg(DISTINCT past.rate_plan) FILTER (WHERE past.rate_plan IS NOT NULL) AS rate_plans,
        bool_or(upper(past.status) IS DISTINCT FROM 'RETIRED') AS was_in_service,
        min(past.as_of) >= min(run.cycle_start) AS is_first_seen
    FROM past
    CROSS JOIN run
    WHERE past.ended_at IS NULL OR past.ended_at > run.cycle_start
    GROUP BY past.device_id
),

present AS (
    SELECT
        coalesce(staged.iccid, known.iccid) AS iccid,
        known.id AS device_id,
        CASE WHEN staged.iccid IS NULL THEN known.status ELSE staged.status END AS status,
        CASE WHEN staged.iccid IS NULL THEN known.rate_plan ELSE staged.rate_plan END AS rate_plan,
        CASE WHEN staged.iccid IS NULL THEN known.communication_plan ELSE staged.communication_plan END
            AS communication_plan,
        staged.iccid IS NOT NULL OR known.is_active AS is_active,
        CASE WHEN known.is_same_cycle THEN known.ctd_data_usage ELSE 0 END AS data_usage,
        coalesce(known.is_same_cycle, false)
        OR coalesce(within.was_in_service, false)
        OR (known.id IS NOT NULL AND upper(known.status) IS DISTINCT FROM 'RETIRED') AS was_in_service,
        coalesce(known.was_never_read, true) AND coalesce(within.is_first_seen, true) AS is_new,
        within.rate_plans || known.rate_plan AS past_rate_plans
    FROM staged
    FULL JOIN known ON staged.iccid = known.iccid
    LEFT JOIN within ON known.id = within.device_id
)

SELECT
    sim.iccid,
    sim.device_id,
    sim.status,
    sim.rate_plan,
    sim.communication_plan,
    sim.data_usage,
    sim.is_counted,
    sim.is_new_retired,
    used.rate_plans,
    cardinality(used.rate_plans) > 1 AS has_moved
FROM (
    SELECT
        present.*,
        (upper(present.status) IS DISTINCT FROM 'RETIRED') OR present.was_in_service OR present.is_new AS is_counted,
        coalesce(upper(present.status), '') = 'RETIRED' AND NOT present.was_in_service AS is_new_retired
    FROM present
    WHERE present.is_active OR (upper(present.status) = 'RETIRED' AND present.was_in_service)
) AS sim
CROSS JOIN LATERAL (
    SELECT
        CASE
            -- Almost every SIM: it has been on its plan all the time, or is new.
            WHEN sim.rate_plan IS NOT NULL AND coalesce(sim.past_rate_plans <@ ARRAY[sim.rate_plan], true)
                THEN ARRAY[sim.rate_plan]
            ELSE (
                SELECT coalesce(array_agg(DISTINCT plan.code), '{}')
                FROM unnest(sim.past_rate_plans || sim.rate_plan) AS plan (code)
                WHERE plan.code IS NOT NULL
            )
        END AS rate_plans
) AS used
