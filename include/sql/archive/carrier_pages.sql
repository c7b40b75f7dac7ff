-- Purpose: return the answers of a run that are not archived yet, in order, the device list first. If a plan's usage
--   was read more than once, its last reading, the valid one, comes first.
-- Parameters: run_id.
-- Locks: none beyond reading.
-- Repeatable: reads only.
SELECT
    kind,
    scan_pass,
    rate_plan_code,
    rate_plan_version,
    usage_type,
    iccid,
    page_number,
    is_refusal,
    received_at,
    document
FROM amop.carrier_page
WHERE run_id = %(run_id)s
ORDER BY
    array_position(ARRAY['device_list', 'rate_plan_usage', 'device_usage', 'device_details'], kind),
    CASE WHEN kind = 'device_list' THEN scan_pass ELSE -scan_pass END,
    rate_plan_code, rate_plan_version, usage_type, iccid, page_number
