-- Purpose: return a SIM with its provider and the billing period of its counters. Messages and seconds of voice that
--   were not read, and sessions that were not read beside data, are null, not 0.
-- Parameters: device_id, integrations (text[], names that the user may see).
-- Locks: none, reads only.
-- Repeatable: yes.
SELECT
    device.id,
    device.service_provider_id,
    provider.name AS provider,
    provider.currency,
    provider.time_zone,
    device.iccid,
    device.imsi,
    device.msisdn,
    device.imei,
    device.status,
    device.rate_plan,
    device.communication_plan,
    device.ctd_data_usage,
    CASE WHEN device.sms_is_read OR device.ctd_sms_usage > 0 THEN device.ctd_sms_usage END AS ctd_sms_usage,
    CASE WHEN device.voice_is_read OR device.ctd_voice_usage > 0 THEN device.ctd_voice_usage END AS ctd_voice_usage,
    CASE
        WHEN device.ctd_session_count > 0 OR device.ctd_data_usage = 0 THEN device.ctd_session_count
    END AS ctd_session_count,
    device.date_activated,
    device.last_usage_date,
    device.is_active,
    device.modified_at,
    device.usage_is_unconfirmed,
    device.billing_period_id,
    period.cycle_start,
    period.cycle_end
FROM amop.device AS device
INNER JOIN amop.service_provider AS provider ON device.service_provider_id = provider.id
INNER JOIN amop.integration AS integration ON provider.integration_id = integration.id
LEFT JOIN amop.billing_period AS period ON device.billing_period_id = period.id
WHERE device.id = %(device_id)s AND integration.name = any(%(integrations)s::text[])
