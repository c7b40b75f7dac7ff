-- Purpose: queue the detail reads of a run: SIMs whose details were never read completely, newly ACTIVATED ones, and
--   those that the carrier lists as modified although nothing in the list has changed: another IMEI is in the details.
--   First SIMs that may have been activated in the open billing cycle, the last modified first, then the rest. SIMs
--   that were read or tried before get a tenth of the reads, and what others leave, the longest ago first: they must
--   not keep the others waiting. SIMs outside of a list that is not whole are read in the same way, to see that they
--   exist.
-- Parameters: run_id, service_provider_id, cycle_start_date (local date on which the cycle began), list_is_exact_full
--   (SIMs missing from an exact full list may have vanished: not read), list_is_partial (a full list that is not
--   whole), list_is_full (not only the modified SIMs), detail_calls_per_run (the provider's limit).
-- Locks: none beyond the new rows.
-- Repeatable: existing rows are left unchanged.
WITH staged AS (
    SELECT
        iccid,
        status,
        rate_plan,
        communication_plan,
        run_id * 100000000000 + page_number::bigint * 100000 + row_number AS modification_order
    FROM amop.latest_staged_device
    WHERE run_id = %(run_id)s
),

candidate AS (
    SELECT
        device.id,
        device.details_read_at,
        device.date_activated,
        coalesce(staged.iccid, device.iccid) AS iccid,
        CASE WHEN staged.iccid IS NULL THEN device.status ELSE staged.status END AS status,
        coalesce(staged.modification_order, device.modification_order) AS modification_order,
        staged.iccid IS NOT NULL AS is_listed,
        (staged.status = 'ACTIVATED' AND coalesce(device.status, '') <> 'ACTIVATED') IS TRUE AS is_activated_now,
        CASE
            WHEN (staged.status = 'ACTIVATED' AND coalesce(device.status, '') <> 'ACTIVATED') IS NOT TRUE
                THEN device.details_tried_at
        END AS details_tried_at,
        coalesce(staged.status, '') = coalesce(device.status, '')
        AND coalesce(staged.rate_plan, '') = coalesce(device.rate_plan, '')
        AND coalesce(staged.communication_plan, '') = coalesce(device.communication_plan, '') AS is_listed_as_before
    FROM staged
    FULL JOIN (
        SELECT known.* FROM amop.device AS known
        WHERE known.service_provider_id = %(service_provider_id)s AND known.is_active
    ) AS device ON staged.iccid = device.iccid
),

backlog AS (
    SELECT
        candidate.iccid,
        candidate.details_tried_at,
        candidate.modification_order,
        CASE
            WHEN candidate.id IS NOT NULL AND candidate.is_activated_now THEN 0
            WHEN candidate.date_activated IS NOT NULL THEN 2
            WHEN candidate.status IN ('INVENTORY', 'TEST_READY', 'ACTIVATION_READY', 'RETIRED', 'PURGED') THEN 2
            WHEN
                EXISTS (
                    SELECT 1 FROM amop.device_history AS history
                    WHERE
                        history.device_id = candidate.id AND history.status = 'ACTIVATED'
                        AND history.valid_from < %(cycle_start_date)s
                )
                THEN 2
            ELSE 1
        END AS place
    FROM candidate
    WHERE
        (candidate.is_listed OR NOT %(list_is_exact_full)s)
        AND (
            candidate.details_read_at IS NULL
            OR candidate.is_activated_now
            OR (NOT candidate.is_listed AND %(list_is_partial)s)
            OR (candidate.is_listed AND candidate.is_listed_as_before AND NOT %(list_is_full)s)
        )
),

ranked AS (
    SELECT
        iccid,
        details_tried_at IS NOT NULL AS was_tried,
        row_number() OVER (
            PARTITION BY details_tried_at IS NOT NULL
            ORDER BY details_tried_at ASC, place ASC, modification_order DESC, iccid ASC
        ) AS rank
    FROM backlog
)

INSERT INTO amop.device_usage_to_process (run_id, kind, iccid)
SELECT
    %(run_id)s::bigint,
    'device_details',
    iccid
FROM ranked
ORDER BY was_tried AND rank <= greatest(1, %(detail_calls_per_run)s::integer / 10) DESC, was_tried ASC, rank ASC
LIMIT %(detail_calls_per_run)s
ON CONFLICT DO NOTHING
