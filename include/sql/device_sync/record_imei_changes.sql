-- Purpose: record the SIMs whose staged details name other equipment than amop.device. The first 14 digits of an IMEI
--   are the equipment; the rest is a check digit or a version of its software. Runs before `merge_details`.
-- Parameters: run_id, service_provider_id, now.
-- Locks: the rows that are written.
-- Repeatable: after merge_details the IMEIs are the same, so that nothing is written.
INSERT INTO amop.device_imei_change (device_id, changed_at, from_imei, to_imei)
SELECT
    device.id,
    %(now)s,
    device.imei AS from_imei,
    detail.imei AS to_imei
FROM amop.device_detail_staging AS detail
INNER JOIN amop.device AS device
    ON device.service_provider_id = %(service_provider_id)s AND detail.iccid = device.iccid
WHERE
    detail.run_id = %(run_id)s
    AND left(detail.imei, 14) <> left(device.imei, 14)
    AND device.details_tried_at IS DISTINCT FROM detail.received_at
ON CONFLICT (device_id, changed_at) DO NOTHING
