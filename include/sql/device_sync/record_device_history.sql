-- Purpose: write status, rate plan and communication plan of the listed SIMs to history where they differ from the
--   history of that day. An earlier reading never replaces a later one of the same day. If a later day was read already
--   and had no change, that day keeps its previous history.
-- Parameters: run_id, service_provider_id, usage_date, as_of, next_date and next_as_of (the next day that was read, or
--   null).
-- Locks: the rows that are written.
-- Repeatable: an equal row is not written again.
WITH seen AS (
    SELECT
        device.id AS device_id,
        staged.status,
        staged.rate_plan,
        staged.communication_plan
    FROM amop.latest_staged_device AS staged
    INNER JOIN amop.device AS device
        ON device.service_provider_id = %(service_provider_id)s AND staged.iccid = device.iccid
    WHERE staged.run_id = %(run_id)s
),

changed AS (
    SELECT
        seen.*,
        known.device_id IS NOT NULL AS is_known,
        known.status AS status_before,
        known.rate_plan AS rate_plan_before,
        known.communication_plan AS communication_plan_before
    FROM seen
    LEFT JOIN LATERAL (
        SELECT earlier.* FROM amop.device_history AS earlier
        WHERE earlier.device_id = seen.device_id AND earlier.valid_from <= %(usage_date)s
        ORDER BY earlier.valid_from DESC
        LIMIT 1
    ) AS known ON true
    WHERE
        known.device_id IS NULL
        OR (
            (known.valid_from < %(usage_date)s OR known.as_of <= %(as_of)s)
            AND (known.status, known.rate_plan, known.communication_plan) IS DISTINCT FROM (
                seen.status, seen.rate_plan, seen.communication_plan
            )
        )
),

unchanged_later AS (
    INSERT INTO amop.device_history (device_id, valid_from, as_of, status, rate_plan, communication_plan)
    SELECT
        device_id,
        %(next_date)s::date,
        %(next_as_of)s::timestamptz,
        status_before,
        rate_plan_before,
        communication_plan_before
    FROM changed
    WHERE
        is_known
        AND %(next_date)s::date IS NOT NULL
        AND NOT EXISTS (
            SELECT 1 FROM amop.device_history AS history
            WHERE
                history.device_id = changed.device_id
                AND history.valid_from > %(usage_date)s AND history.valid_from <= %(next_date)s::date
        )
)

INSERT INTO amop.device_history AS history (device_id, valid_from, as_of, status, rate_plan, communication_plan)
SELECT
    device_id,
    %(usage_date)s,
    %(as_of)s,
    status,
    rate_plan,
    communication_plan
FROM changed
ON CONFLICT (device_id, valid_from) DO UPDATE
SET
    as_of = excluded.as_of,
    status = excluded.status,
    rate_plan = excluded.rate_plan,
    communication_plan = excluded.communication_plan
