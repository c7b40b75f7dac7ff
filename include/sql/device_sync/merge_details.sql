-- Purpose: merge the staged details of SIMs into amop.device. A null never replaces a value. Details of which a field
--   was unreadable stay in the backlog of later runs. What was read again and is the same is not written.
-- Parameters: run_id, service_provider_id, now.
-- Locks: the rows that change; the caller holds the provider's advisory lock.
-- Repeatable: a SIM whose details were merged from this answer is not written again.
UPDATE amop.device AS device
SET
    imsi = coalesce(detail.imsi, device.imsi),
    msisdn = coalesce(detail.msisdn, device.msisdn),
    imei = coalesce(detail.imei, device.imei),
    date_activated = coalesce(detail.date_activated, device.date_activated),
    details_read_at = CASE WHEN detail.is_complete THEN detail.received_at END,
    details_tried_at = detail.received_at,
    modified_at = %(now)s
FROM amop.device_detail_staging AS detail
WHERE
    detail.run_id = %(run_id)s
    AND device.service_provider_id = %(service_provider_id)s
    AND device.iccid = detail.iccid
    AND device.details_tried_at IS DISTINCT FROM detail.received_at
    AND (
        device.details_read_at IS NULL
        OR NOT detail.is_complete
        OR coalesce(detail.imsi, device.imsi) IS DISTINCT FROM device.imsi
        OR coalesce(detail.msisdn, device.msisdn) IS DISTINCT FROM device.msisdn
        OR coalesce(detail.imei, device.imei) IS DISTINCT FROM device.imei
        OR coalesce(detail.date_activated, device.date_activated) IS DISTINCT FROM device.date_activated
    )
