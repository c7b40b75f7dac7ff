-- Purpose: return the device history file: one line per SIM of the provider as it is after the merge of a run, and per
--   SIM that vanished with it. The file is opened in spreadsheets too: identifiers keep their digits, and no text of a
--   carrier is a formula there.
-- Parameters: run_id.
-- Locks: none beyond reading.
-- Repeatable: reads only.
SELECT
    device.service_provider_id AS "ServiceProviderId",
    amop.spreadsheet_text(provider.name) AS "ServiceProviderName",
    amop.spreadsheet_identifier(device.iccid) AS "ICCID",
    amop.spreadsheet_identifier(device.imsi) AS "IMSI",
    amop.spreadsheet_identifier(device.msisdn) AS "MSISDN",
    amop.spreadsheet_identifier(device.imei) AS "IMEI",
    amop.spreadsheet_text(device.status) AS "Status",
    amop.spreadsheet_text(device.rate_plan) AS "RatePlan",
    amop.spreadsheet_text(device.communication_plan) AS "CommunicationPlan",
    device.date_activated AS "DateActivated",
    device.ctd_data_usage AS "CtdDataUsage",
    device.ctd_sms_usage AS "CtdSMSUsage",
    device.ctd_voice_usage AS "CtdVoiceUsage",
    device.ctd_session_count AS "CtdSessionCount",
    device.last_usage_date AS "LastUsageDate",
    period.cycle_start AS "BillingCycleStartDate",
    period.cycle_end AS "BillingCycleEndDate",
    device.is_active AS "IsActive",
    device.modified_at AS "ModifiedDate",
    run.usage_as_of AS "SyncDate"
FROM amop.device_sync_run AS run
INNER JOIN amop.service_provider AS provider ON run.service_provider_id = provider.id
INNER JOIN amop.device AS device
    ON
        run.service_provider_id = device.service_provider_id
        AND (device.is_active OR run.started_at <= device.modified_at)
INNER JOIN amop.billing_period AS period ON coalesce(device.billing_period_id, run.billing_period_id) = period.id
WHERE run.id = %(run_id)s
ORDER BY device.iccid
