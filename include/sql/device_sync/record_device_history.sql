-- Purpose: write status, rate plan and communication plan of the observed SIMs to history where they differ from the
--   history of that day. An earlier reading never replaces a later one of the same day. If a later day was read already
--   and had no change, that day keeps its previous history.
-- Parameters: usage_date, as_of, next_date and next_as_of (the next day that was read, or null); needs observed_device.
-- Locks: the rows that are written.
-- Repeatable: an equal row is not written again.
WITH changed AS (
    SELECT
        observed.*,
        known.device_id IS NOT NULL AS is_known,
        known.status AS status_before,
        known.rate_plan AS rate_plan_before,
        known.communication_plan AS communication_plan_before
    FROM observed_device AS observed
    LEFT JOIN LATERAL (
        SELECT earlier.* FROM amop.device_history AS earlier
        WHERE earlier.device_id = observed.device_id AND earlier.valid_from <= %(usage_date)s
        ORDER BY earlier.valid_from DESC
        LIMIT 1
    ) AS known ON true
    WHERE
        known.device_id IS NULL
        OR (
            (known.valid_from < %(usage_date)s OR known.as_of <= %(as_of)s)
            AND (known.status, known.rate_plan, known.communication_plan) IS DISTINCT FROM (
                observed.status, observed.rate_plan, observed.communication_plan
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
