-- Purpose: find SIMs by the first characters of their ICCID (or EID), IMSI, MSISDN or IMEI.
-- Parameters: integrations (text[], names that the user may see), first (the characters, no wildcards), maximum.
-- Locks: none, reads only.
-- Repeatable: yes; of more than maximum SIMs any are returned.
WITH visible AS (
    SELECT provider.id
    FROM amop.service_provider AS provider
    INNER JOIN amop.integration AS integration ON provider.integration_id = integration.id
    WHERE integration.name = any(%(integrations)s::text[])
)

SELECT
    device.id,
    provider.name AS provider,
    device.iccid,
    device.imsi,
    device.msisdn,
    device.imei,
    device.status,
    device.rate_plan,
    device.communication_plan,
    device.ctd_data_usage,
    device.is_active
FROM (
    (
        SELECT by_iccid.id FROM amop.device AS by_iccid
        INNER JOIN visible ON by_iccid.service_provider_id = visible.id
        WHERE by_iccid.iccid LIKE %(first)s || '%%'
        LIMIT %(maximum)s -- noqa: AM09, any of too many
    )
    UNION
    (
        SELECT by_imsi.id FROM amop.device AS by_imsi
        INNER JOIN visible ON by_imsi.service_provider_id = visible.id
        WHERE by_imsi.imsi LIKE %(first)s || '%%'
        LIMIT %(maximum)s -- noqa: AM09, any of too many
    )
    UNION
    (
        SELECT by_msisdn.id FROM amop.device AS by_msisdn
        INNER JOIN visible ON by_msisdn.service_provider_id = visible.id
        WHERE by_msisdn.msisdn LIKE %(first)s || '%%'
        LIMIT %(maximum)s -- noqa: AM09, any of too many
    )
    UNION
    (
        SELECT by_imei.id FROM amop.device AS by_imei
        INNER JOIN visible ON by_imei.service_provider_id = visible.id
        WHERE by_imei.imei LIKE %(first)s || '%%'
        LIMIT %(maximum)s -- noqa: AM09, any of too many
    )
) AS found
INNER JOIN amop.device AS device ON found.id = device.id
INNER JOIN amop.service_provider AS provider ON device.service_provider_id = provider.id
ORDER BY device.iccid, device.id
LIMIT %(maximum)s
