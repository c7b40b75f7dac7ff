-- Purpose: collect the SIMs in which a run's list and amop.device differ, in one pass over both: listed SIMs that are
--   new, inactive or have another status or plan, and, of a full list, the active SIMs that it does not contain. Few of
--   a fleet differ on a day, and everything else in the merge needs these alone.
-- Parameters: run_id, service_provider_id, is_full (with the SIMs that the list does not contain), is_repeated (a SIM
--   may be staged twice: the last row read counts), iccids (text[], only these SIMs of the list; null = all).
-- Locks: none; creates a temporary table in this transaction, whose holder has the provider's advisory lock.
-- Repeatable: the table is dropped at the end of the transaction.
CREATE TEMPORARY TABLE list_change ON COMMIT DROP AS
WITH staged AS (
    SELECT
        listed.iccid,
        listed.status,
        listed.rate_plan,
        listed.communication_plan,
        listed.run_id * 100000000000 + listed.page_number::bigint * 100000 + listed.row_number AS modification_order
    FROM amop.device_staging AS listed
    WHERE
        listed.run_id = %(run_id)s
        AND (%(iccids)s::text[] IS NULL OR listed.iccid = any(%(iccids)s::text[]))
        AND NOT EXISTS (
            SELECT 1 FROM amop.device_staging AS later
            WHERE
                %(is_repeated)s::boolean
                AND later.run_id = %(run_id)s
                AND later.iccid = listed.iccid
                AND (later.scan_pass, later.page_number, later.row_number)
                > (listed.scan_pass, listed.page_number, listed.row_number)
        )
),

known AS (
    SELECT
        device.id,
        device.iccid,
        device.status,
        device.rate_plan,
        device.communication_plan,
        device.is_active
    FROM amop.device AS device
    WHERE device.service_provider_id = %(service_provider_id)s
)

SELECT
    known.id AS device_id,
    staged.status,
    staged.rate_plan,
    staged.communication_plan,
    staged.modification_order,
    known.status AS status_before,
    known.rate_plan AS rate_plan_before,
    known.communication_plan AS communication_plan_before,
    coalesce(staged.iccid, known.iccid) AS iccid,
    staged.iccid IS NOT NULL AS is_listed,
    coalesce(known.is_active, false) AS was_active
FROM staged
FULL JOIN known ON staged.iccid = known.iccid
WHERE
    CASE
        WHEN staged.iccid IS NULL THEN %(is_full)s::boolean AND known.is_active
        ELSE
            known.id IS NULL
            OR (known.status, known.rate_plan, known.communication_plan, known.is_active) IS DISTINCT FROM (
                staged.status, staged.rate_plan, staged.communication_plan, true
            )
    END
