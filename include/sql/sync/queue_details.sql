-- Purpose: queue the detail reads of a run: SIMs that are new or newly ACTIVATED, newest in the list first.
-- Parameters: run_id, service_provider_id, detail_calls_per_run (the provider's limit).
-- Locks: none beyond the new rows.
-- Repeatable: rows that exist are left alone.
WITH staged AS (
    SELECT DISTINCT ON (iccid)
        iccid,
        status,
        page_number,
        row_number
    FROM amop.device_staging
    WHERE run_id = %(run_id)s
    ORDER BY iccid ASC, scan_pass DESC, page_number DESC, row_number DESC
)

INSERT INTO amop.device_usage_to_process (run_id, kind, iccid)
SELECT
    %(run_id)s::bigint,
    'device_details',
    staged.iccid
FROM staged
LEFT JOIN amop.device AS device
    ON device.service_provider_id = %(service_provider_id)s AND staged.iccid = device.iccid
WHERE device.id IS NULL OR (staged.status = 'ACTIVATED' AND device.status IS DISTINCT FROM 'ACTIVATED')
ORDER BY staged.page_number DESC, staged.row_number DESC
LIMIT %(detail_calls_per_run)s
ON CONFLICT DO NOTHING
