-- Purpose: compare a run's list with the warehouse before the merge. One row for each kind of loss: active SIMs that
--   the list does not contain (recorded as missing earlier: not counted again), and listed SIMs whose status, rate plan
--   or communication plan is now null or unknown although it was not. A rate plan is known if the provider has it, a
--   communication plan if it is mapped to rate plans. New SIMs without a known value are counted apart. A value that no
--   SIM has changed has no row.
-- Parameters: run_id, service_provider_id, known_statuses (text[]).
-- Locks: none beyond reading.
-- Repeatable: reads only.
WITH staged AS (
    SELECT
        iccid,
        status,
        rate_plan,
        communication_plan
    FROM amop.latest_staged_device
    WHERE run_id = %(run_id)s
),

fleet AS (
    SELECT
        device.id,
        device.iccid,
        device.status,
        device.rate_plan,
        device.communication_plan
    FROM amop.device AS device
    WHERE device.service_provider_id = %(service_provider_id)s AND device.is_active
),

known_communication_plan AS (
    SELECT DISTINCT plan.name
    FROM amop.communication_plan AS plan
    INNER JOIN amop.communication_plan_rate_plan AS mapping ON plan.id = mapping.communication_plan_id
    WHERE plan.service_provider_id = %(service_provider_id)s
),

listed AS (
    SELECT
        staged.iccid,
        known.kind,
        fleet.id IS NULL AS is_new,
        known.value_before IS NOT NULL AND known.value IS NULL AS is_null_now,
        known.is_known_before AND NOT known.is_known AS is_unknown_now,
        known.value IS NULL OR NOT known.is_known AS is_without
    FROM staged
    LEFT JOIN fleet ON staged.iccid = fleet.iccid
    LEFT JOIN amop.carrier_rate_plan AS plan
        ON plan.service_provider_id = %(service_provider_id)s AND staged.rate_plan = plan.rate_plan_code
    LEFT JOIN amop.carrier_rate_plan AS plan_before
        ON plan_before.service_provider_id = %(service_provider_id)s AND fleet.rate_plan = plan_before.rate_plan_code
    LEFT JOIN known_communication_plan AS communication ON staged.communication_plan = communication.name
    LEFT JOIN known_communication_plan AS communication_before
        ON fleet.communication_plan = communication_before.name
    CROSS JOIN LATERAL (
        VALUES
        (
            'status', staged.status, fleet.status, coalesce(staged.status = any(%(known_statuses)s::text[]), false),
            coalesce(fleet.status = any(%(known_statuses)s::text[]), false)
        ),
        ('rate plan', staged.rate_plan, fleet.rate_plan, plan.id IS NOT NULL, plan_before.id IS NOT NULL),
        (
            'communication plan', staged.communication_plan, fleet.communication_plan,
            communication.name IS NOT NULL, communication_before.name IS NOT NULL
        )
    ) AS known (kind, value, value_before, is_known, is_known_before)
    -- An unchanged SIM has lost nothing: only the others are judged, and sorted.
    WHERE
        fleet.id IS NULL
        OR (staged.status, staged.rate_plan, staged.communication_plan) IS DISTINCT FROM (
            fleet.status, fleet.rate_plan, fleet.communication_plan
        )
)

SELECT
    'unlisted' AS kind,
    (SELECT count(active.id) FROM fleet AS active) AS fleet,
    (SELECT count(active.id) FROM fleet AS active) AS known_before,
    count(*) AS lost,
    0::bigint AS new_without,
    (array_agg(fleet.iccid ORDER BY fleet.iccid))[1:5] AS samples
FROM fleet
WHERE
    NOT EXISTS (SELECT 1 FROM staged WHERE staged.iccid = fleet.iccid)
    AND NOT EXISTS (SELECT 1 FROM amop.device_missing AS missing WHERE missing.device_id = fleet.id)
    AND NOT EXISTS (
        SELECT 1 FROM amop.device_quarantine AS rejected
        WHERE
            rejected.run_id = %(run_id)s AND rejected.kind = 'device' AND rejected.iccid = fleet.iccid
            AND rejected.source IS DISTINCT FROM 'device_details'
    )
UNION ALL
SELECT
    listed.kind,
    (SELECT count(active.id) FROM fleet AS active) + count(*) FILTER (WHERE listed.is_new) AS fleet,
    (SELECT count(active.id) FROM fleet AS active) AS known_before,
    count(*) FILTER (WHERE listed.is_null_now OR listed.is_unknown_now) AS lost,
    count(*) FILTER (WHERE listed.is_new AND listed.is_without) AS new_without,
    (
        array_agg(listed.iccid ORDER BY listed.iccid)
        FILTER (WHERE listed.is_null_now OR listed.is_unknown_now OR (listed.is_new AND listed.is_without))
    )[1:5] AS samples
FROM listed
GROUP BY listed.kind
