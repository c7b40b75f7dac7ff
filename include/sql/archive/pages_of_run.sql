-- Purpose: the answers that a run has received and the archive does not have yet, the device list first, in order.
--   Of a plan's usage that was read more than once the last reading comes first: it is the one that counts.
-- Parameters: run_id (bigint).
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
