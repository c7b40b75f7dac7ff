-- Purpose: merge staged SIMs into amop.device: insert new ones, update changed ones, leave the rest unchanged. The
--   details of a SIM that was activated since count as never read; `merge_details` follows.
-- Parameters: run_id, service_provider_id, iccids (text[], only these SIMs; null = all), now.
-- Locks: the rows that change; the caller holds the provider's advisory lock.
-- Repeatable: writes only rows that differ, so a second run writes nothing.
MERGE INTO amop.device AS device
USING (
    SELECT
        iccid,
        status,
        rate_plan,
        communication_plan,
        run_id * 100000000000 + page_number::bigint * 100000 + row_number AS modification_order
    FROM amop.latest_staged_device
    WHERE
        run_id = %(run_id)s
        AND (%(iccids)s::text[] IS NULL OR iccid = any(%(iccids)s::text[]))
) AS staged ON device.service_provider_id = %(service_provider_id)s AND device.iccid = staged.iccid
WHEN MATCHED AND (
    device.status, device.rate_plan, device.communication_plan, device.is_active
) IS DISTINCT FROM (
    staged.status, staged.rate_plan, staged.communication_plan, true
) THEN UPDATE SET
    status = staged.status,
    rate_plan = staged.rate_plan,
    communication_plan = staged.communication_plan,
    details_read_at = CASE
        WHEN staged.status = 'ACTIVATED' AND device.status IS DISTINCT FROM 'ACTIVATED' THEN NULL
        ELSE device.details_read_at
    END,
    details_tried_at = CASE
        WHEN staged.status = 'ACTIVATED' AND device.status IS DISTINCT FROM 'ACTIVATED' THEN NULL
        ELSE device.details_tried_at
    END,
    modification_order = staged.modification_order,
    is_active = true,
    modified_at = %(now)s
WHEN NOT MATCHED THEN INSERT (
    service_provider_id, iccid, status, rate_plan, communication_plan, modification_order, modified_at
) VALUES (
    %(service_provider_id)s, staged.iccid, staged.status, staged.rate_plan, staged.communication_plan,
    staged.modification_order, %(now)s
)
