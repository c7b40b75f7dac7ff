-- Purpose: merge the listed SIMs that differ into amop.device: insert new ones, update changed ones. The details of a
--   SIM that was activated since count as never read; `merge_details` follows.
-- Parameters: service_provider_id, now; needs list_change of the same transaction.
-- Locks: the rows that change; the caller holds the provider's advisory lock.
-- Repeatable: list_change has only what differs, so a second merge writes nothing. New SIMs are inserted in the order
--   of their ICCIDs, which is that of the indexes.
MERGE INTO amop.device AS device
USING (
    SELECT
        device_id,
        iccid,
        status,
        rate_plan,
        communication_plan,
        modification_order
    FROM list_change
    WHERE is_listed
    ORDER BY iccid
) AS staged ON device.id = staged.device_id
WHEN MATCHED THEN UPDATE SET
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
