-- Purpose: find SIMs whose plan another party changed at the carrier within the open period and that are still on it,
--   with the difference of the bill: each plan on its own with its own allowance, for the projected usage. Changes that
--   this package sent are not among them, those of an unknown outcome included.
-- Parameters: service_provider_id, cycle_start, usage_as_of. Needs finding_sim and finding_candidate.
-- Locks: none; writes a temporary table.
-- Repeatable: in another transaction.
INSERT INTO finding_candidate (kind, subject, occurrence, device_id, amount, facts)
SELECT
    'plan_changed',
    change.iccid,
    to_char(change.as_of AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS'),
    change.device_id,
    coalesce(new_plan.cost - old_plan.cost, 0),
    jsonb_build_object(
        'from_rate_plan', change.rate_plan_before,
        'to_rate_plan', change.rate_plan,
        'seen_on', to_char(change.as_of AT TIME ZONE 'UTC', 'YYYY-MM-DD')
    )
FROM (
    SELECT DISTINCT ON (sim.device_id)
        sim.*,
        listed.as_of,
        before.rate_plan AS rate_plan_before,
        before.as_of AS as_of_before
    FROM amop.device_history AS listed
    INNER JOIN finding_sim AS sim ON listed.device_id = sim.device_id AND listed.rate_plan = sim.rate_plan
    CROSS JOIN LATERAL (
        SELECT
            earlier.rate_plan,
            earlier.as_of
        FROM amop.device_history AS earlier
        WHERE
            earlier.device_id = listed.device_id
            AND earlier.valid_from < listed.valid_from
            AND earlier.rate_plan IS NOT NULL
        ORDER BY earlier.valid_from DESC
        LIMIT 1
    ) AS before
    WHERE
        listed.as_of >= %(cycle_start)s::timestamptz
        AND listed.as_of <= %(usage_as_of)s::timestamptz
        AND before.rate_plan <> listed.rate_plan
    ORDER BY sim.device_id ASC, listed.as_of DESC
) AS change
LEFT JOIN LATERAL (
    SELECT
        plan.rate_charge * change.billed_share + plan.base_rate + plan.sms_rate * change.sms_usage
        + amop.overage_cost(change.projected_mb, plan.plan_mb, plan.data_per_overage_charge, plan.overage_rate) AS cost
    FROM amop.carrier_rate_plan AS plan
    WHERE plan.id = change.rate_plan_id
) AS new_plan ON true
LEFT JOIN LATERAL (
    SELECT
        plan.rate_charge * change.billed_share + plan.base_rate + plan.sms_rate * change.sms_usage
        + amop.overage_cost(change.projected_mb, plan.plan_mb, plan.data_per_overage_charge, plan.overage_rate) AS cost
    FROM amop.carrier_rate_plan AS plan
    WHERE plan.service_provider_id = %(service_provider_id)s AND plan.rate_plan_code = change.rate_plan_before
) AS old_plan ON true
WHERE
    NOT EXISTS (
        SELECT 1 FROM amop.rate_plan_change AS own
        WHERE
            own.device_id = change.device_id
            AND own.to_rate_plan = change.rate_plan
            AND own.state IN ('applied', 'approved', 'failed')
            AND coalesce(own.applied_at, own.sent_at) > change.as_of_before
            AND coalesce(own.applied_at, own.sent_at) <= change.as_of
    )
