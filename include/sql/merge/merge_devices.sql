-- Purpose: staged SIMs and their details into amop.device: new ones inserted, changed ones updated, the rest untouched.
-- Parameters: run_id, service_provider_id, iccids (text[], only these SIMs; null = all), now.
-- Locks: the rows that change; the provider's advisory lock is held by the caller.
-- Repeatable: the guard writes only what differs, so a second run writes nothing.
MERGE INTO amop.device AS device
USING (
    SELECT DISTINCT ON (staged.iccid)
        staged.iccid,
        staged.status,
        staged.rate_plan,
        staged.communication_plan,
        detail.imsi,
        detail.msisdn,
        detail.imei,
        detail.date_activated,
        detail.received_at AS details_read_at
    FROM amop.device_staging AS staged
    LEFT JOIN amop.device_detail_staging AS detail ON staged.run_id = detail.run_id AND staged.iccid = detail.iccid
    WHERE
        staged.run_id = %(run_id)s
        AND (%(iccids)s::text[] IS NULL OR staged.iccid = any(%(iccids)s::text[]))
    ORDER BY staged.iccid ASC, staged.scan_pass DESC, staged.page_number DESC, staged.row_number DESC
) AS staged ON device.service_provider_id = %(service_provider_id)s AND device.iccid = staged.iccid
WHEN MATCHED AND (
    device.status, device.rate_plan, device.communication_plan, device.imsi, device.msisdn, device.imei,
    device.date_activated, device.is_active
) IS DISTINCT FROM (
    staged.status, staged.rate_plan, staged.communication_plan, coalesce(staged.imsi, device.imsi),
    coalesce(staged.msisdn, device.msisdn), coalesce(staged.imei, device.imei),
    coalesce(staged.date_activated, device.date_activated), true
) THEN UPDATE SET
    status = staged.status,
    rate_plan = staged.rate_plan,
    communication_plan = staged.communication_plan,
    imsi = coalesce(staged.imsi, device.imsi),
    msisdn = coalesce(staged.msisdn, device.msisdn),
    imei = coalesce(staged.imei, device.imei),
    date_activated = coalesce(staged.date_activated, device.date_activated),
    details_read_at = coalesce(staged.details_read_at, device.details_read_at),
    is_active = true,
    modified_at = %(now)s
WHEN NOT MATCHED THEN INSERT (
    service_provider_id, iccid, status, rate_plan, communication_plan, imsi, msisdn, imei, date_activated,
    details_read_at, modified_at
) VALUES (
    %(service_provider_id)s, staged.iccid, staged.status, staged.rate_plan, staged.communication_plan, staged.imsi,
    staged.msisdn, staged.imei, staged.date_activated, staged.details_read_at, %(now)s
)
