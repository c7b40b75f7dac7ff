-- Purpose: return a SIM with its provider and the billing period of its counters.
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
    device.ctd_sms_usage,
    device.ctd_voice_usage,
    device.ctd_session_count,
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
