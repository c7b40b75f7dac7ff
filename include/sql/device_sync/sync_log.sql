-- Purpose: return the sync log: one line per SIM of the provider with its raw and current usage of the cycle. Raw usage
--   is what the carrier returned in this run. Current usage is in the device table after the merge, for the billing
--   cycle that it was counted in. The file is opened in spreadsheets: identifiers keep their digits, and no text of a
--   carrier is a formula there (amop.spreadsheet_identifier). All other columns are digits and times.
-- Parameters: run_id.
-- Locks: none beyond reading.
-- Repeatable: reads only.
SELECT
    device.id AS "ID",
    amop.spreadsheet_identifier(device.iccid) AS "ICCID",
    amop.spreadsheet_identifier(device.msisdn) AS "MSISDN",
    usage.data_usage AS "RawDataUsage",
    device.ctd_data_usage AS "CurrentDataUsage",
    usage.sms_usage AS "RawSMSUsage",
    device.ctd_sms_usage AS "CurrentSMSUsage",
    usage.voice_usage AS "RawVoiceUsage",
    device.ctd_voice_usage AS "CurrentVoiceUsage",
    period.cycle_start AS "BillingCycleStartDate",
    period.cycle_end AS "BillingCycleEndDate",
    device.last_usage_date AS "UsageDate",
    device.service_provider_id AS "ServiceProviderId"
FROM amop.device_sync_run AS run
INNER JOIN amop.device AS device ON run.service_provider_id = device.service_provider_id AND device.is_active
INNER JOIN amop.billing_period AS period ON coalesce(device.billing_period_id, run.billing_period_id) = period.id
LEFT JOIN (
    SELECT
        iccid,
        sum(usage) FILTER (WHERE usage_type = 'DATA') AS data_usage,
        sum(usage) FILTER (WHERE usage_type = 'SMS') AS sms_usage,
        sum(usage) FILTER (WHERE usage_type = 'VOICE') AS voice_usage
    FROM amop.counted_usage
    WHERE run_id = %(run_id)s
    GROUP BY iccid
) AS usage ON device.iccid = usage.iccid
WHERE run.id = %(run_id)s
ORDER BY device.iccid
