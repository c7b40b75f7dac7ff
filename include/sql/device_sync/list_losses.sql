-- Purpose: compare a run's list with the warehouse before the merge. One row for each kind of loss: active SIMs that
--   the list does not contain (recorded as missing earlier: not counted again), and listed SIMs whose status, rate plan
--   or communication plan is now null or unknown although it was not. A rate plan is known if the provider has it, a
--   communication plan if it is mapped to rate plans. New SIMs without a known value are counted apart. A value that no
--   SIM has changed has no row. SIMs outside of a list that is not full are not lost.
-- Parameters: run_id, service_provider_id, known_statuses (text[]); needs list_change of the same transaction.
-- Locks: none beyond reading.
-- Repeatable: reads only.
WITH fleet AS (
    SELECT count(*) AS sims
    FROM amop.device
    WHERE service_provider_id = %(service_provider_id)s AND is_active
),

staged AS (
    SELECT
        iccid,
        status,
        rate_plan,
        communication_plan,
        NOT was_active AS is_new,
        CASE WHEN was_active THEN status_before END AS status_before,
        CASE WHEN was_active THEN rate_plan_before END AS rate_plan_before,
        CASE WHEN was_active THEN communication_plan_before END AS communication_plan_before
    FROM list_change
    WHERE is_listed
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
        staged.is_new,
        known.value_before IS NOT NULL AND known.value IS NULL AS is_null_now,
        known.is_known_before AND NOT known.is_known AS is_unknown_now,
        known.value IS NULL OR NOT known.is_known AS is_without
    FROM staged
    LEFT JOIN amop.carrier_rate_plan AS plan
        ON plan.service_provider_id = %(service_provider_id)s AND staged.rate_plan = plan.rate_plan_code
    LEFT JOIN amop.carrier_rate_plan AS plan_before
        ON
            plan_before.service_provider_id = %(service_provider_id)s
            AND staged.rate_plan_before = plan_before.rate_plan_code
    LEFT JOIN known_communication_plan AS communication ON staged.communication_plan = communication.name
    LEFT JOIN known_communication_plan AS communication_before
        ON staged.communication_plan_before = communication_before.name
    CROSS JOIN LATERAL (
        VALUES
        (
            'status', staged.status, staged.status_before,
            coalesce(staged.status = any(%(known_statuses)s::text[]), false),
            coalesce(staged.status_before = any(%(known_statuses)s::text[]), false)
        ),
        ('rate plan', staged.rate_plan, staged.rate_plan_before, plan.id IS NOT NULL, plan_before.id IS NOT NULL),
        (
            'communication plan', staged.communication_plan, staged.communication_plan_before,
            communication.name IS NOT NULL, communication_before.name IS NOT NULL
        )
    ) AS known (kind, value, value_before, is_known, is_known_before)
)

SELECT
    'unlisted' AS kind,
    fleet.sims AS fleet,
    fleet.sims AS known_before,
    missed.lost,
    0::bigint AS new_without,
    missed.samples
FROM fleet
CROSS JOIN (
    SELECT
        count(*) AS lost,
        (array_agg(unlisted.iccid ORDER BY unlisted.iccid))[1:5] AS samples
    FROM list_change AS unlisted
    WHERE
        NOT unlisted.is_listed
        AND NOT EXISTS (SELECT 1 FROM amop.device_missing AS missing WHERE missing.device_id = unlisted.device_id)
        AND NOT EXISTS (
            SELECT 1 FROM amop.device_quarantine AS rejected
            WHERE
                rejected.run_id = %(run_id)s AND rejected.kind = 'device' AND rejected.iccid = unlisted.iccid
                AND rejected.source IS DISTINCT FROM 'device_details'
        )
) AS missed
UNION ALL
SELECT
    listed.kind,
    fleet.sims + count(*) FILTER (WHERE listed.is_new) AS fleet,
    fleet.sims AS known_before,
    count(*) FILTER (WHERE listed.is_null_now OR listed.is_unknown_now) AS lost,
    count(*) FILTER (WHERE listed.is_new AND listed.is_without) AS new_without,
    (
        array_agg(listed.iccid ORDER BY listed.iccid)
        FILTER (WHERE listed.is_null_now OR listed.is_unknown_now OR (listed.is_new AND listed.is_without))
    )[1:5] AS samples
FROM listed
CROSS JOIN fleet
GROUP BY listed.kind, fleet.sims
