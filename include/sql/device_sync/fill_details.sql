-- Purpose: fill the details of a SIM that are unknown from a quarantined record that is readable now.
-- Parameters: service_provider_id, iccid, imsi, msisdn, imei, date_activated, now.
-- Locks: the SIM's row.
-- Repeatable: a known value is never replaced.
UPDATE amop.device
SET
    imsi = coalesce(imsi, %(imsi)s),
    msisdn = coalesce(msisdn, %(msisdn)s),
    imei = coalesce(imei, %(imei)s),
    date_activated = coalesce(date_activated, %(date_activated)s),
    modified_at = %(now)s
WHERE
    service_provider_id = %(service_provider_id)s
    AND iccid = %(iccid)s
    AND (imsi, msisdn, imei, date_activated) IS DISTINCT FROM (
        coalesce(imsi, %(imsi)s), coalesce(msisdn, %(msisdn)s), coalesce(imei, %(imei)s),
        coalesce(date_activated, %(date_activated)s)
    )
