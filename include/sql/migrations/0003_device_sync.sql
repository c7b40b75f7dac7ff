-- Purpose: devices, their usage and history; ledger, staging, work rows, quarantine and archive of sync runs.
-- Parameters: none.
-- Locks: creates new objects only.
-- Repeatable: the migration ledger applies it once; every file is one transaction.
CREATE TABLE amop.device (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    service_provider_id bigint NOT NULL REFERENCES amop.service_provider,
    iccid text NOT NULL,
    imsi text,
    msisdn text,
    imei text,
    status text,
    rate_plan text,
    communication_plan text,
    ctd_data_usage bigint NOT NULL DEFAULT 0,
    ctd_sms_usage bigint NOT NULL DEFAULT 0,
    ctd_voice_usage bigint NOT NULL DEFAULT 0,
    ctd_session_count bigint NOT NULL DEFAULT 0,
    date_activated timestamptz,
    details_read_at timestamptz,
    last_usage_date timestamptz,
    billing_period_id bigint REFERENCES amop.billing_period,
    is_active boolean NOT NULL DEFAULT true,
    modified_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (service_provider_id, iccid)
) WITH (fillfactor = 90);
COMMENT ON TABLE amop.device IS 'SIMs of a provider with their last known values. No row is ever deleted.';
COMMENT ON COLUMN amop.device.status IS 'As the carrier names it, such as ACTIVATED.';
COMMENT ON COLUMN amop.device.rate_plan IS 'As the carrier names it; may be unknown to carrier_rate_plan.';
COMMENT ON COLUMN amop.device.ctd_data_usage IS 'Bytes in the cycle of billing_period_id to date.';
COMMENT ON COLUMN amop.device.ctd_sms_usage IS 'Messages in the cycle of billing_period_id to date.';
COMMENT ON COLUMN amop.device.ctd_voice_usage IS 'Seconds in the cycle of billing_period_id to date.';
COMMENT ON COLUMN amop.device.ctd_session_count IS 'Data sessions in the cycle of billing_period_id to date.';
COMMENT ON COLUMN amop.device.details_read_at IS
'When the details (activation date, IMSI, MSISDN, IMEI) were last read; null = never.';
COMMENT ON COLUMN amop.device.billing_period_id IS 'The period that the ctd_ counters belong to.';
COMMENT ON COLUMN amop.device.is_active IS 'False: the SIM has vanished from the carrier''s list.';

CREATE TABLE amop.device_usage (
    device_id bigint NOT NULL REFERENCES amop.device,
    usage_date date NOT NULL,
    billing_period_id bigint NOT NULL REFERENCES amop.billing_period,
    data_usage bigint NOT NULL CHECK (data_usage >= 0),
    sms_usage bigint NOT NULL CHECK (sms_usage >= 0),
    voice_usage bigint NOT NULL CHECK (voice_usage >= 0),
    ctd_data_usage bigint,
    ctd_sms_usage bigint,
    ctd_voice_usage bigint,
    as_of timestamptz,
    PRIMARY KEY (device_id, usage_date, billing_period_id)
);
-- A merge writes the rows of one period and date side by side, so that block ranges hold few of each.
CREATE INDEX device_usage_period_date ON amop.device_usage USING brin (billing_period_id, usage_date);
COMMENT ON TABLE amop.device_usage IS
'Usage of a SIM on a local day: the difference from the previous sync of the cycle. The sum over a cycle is its total.';
COMMENT ON COLUMN amop.device_usage.usage_date IS 'Day in the provider''s time zone.';
COMMENT ON COLUMN amop.device_usage.data_usage IS 'Bytes.';
COMMENT ON COLUMN amop.device_usage.sms_usage IS 'Messages.';
COMMENT ON COLUMN amop.device_usage.voice_usage IS 'Seconds.';
COMMENT ON COLUMN amop.device_usage.ctd_data_usage IS
'The carrier''s counter at the end of the day; null in rows older than this column: there the sum up to the day is it.';
COMMENT ON COLUMN amop.device_usage.as_of IS 'When the counters were read.';

CREATE TABLE amop.device_sync_page (
    run_id bigint NOT NULL REFERENCES amop.device_sync_run ON DELETE CASCADE,
    scan_pass smallint NOT NULL,
    page_number integer NOT NULL,
    device_count integer NOT NULL,
    is_last_page boolean NOT NULL,
    received_at timestamptz NOT NULL,
    PRIMARY KEY (run_id, scan_pass, page_number)
);
COMMENT ON TABLE amop.device_sync_page IS 'Ledger of the device list: the pages that were staged.';

CREATE TABLE amop.device_staging (
    run_id bigint NOT NULL,
    scan_pass smallint NOT NULL,
    page_number integer NOT NULL,
    row_number smallint NOT NULL,
    iccid text NOT NULL,
    status text,
    rate_plan text,
    communication_plan text,
    PRIMARY KEY (run_id, scan_pass, page_number, row_number)
);
CREATE INDEX device_staging_iccid ON amop.device_staging (run_id, iccid);
COMMENT ON TABLE amop.device_staging IS 'Valid rows of the device list; of a SIM listed twice the later row counts.';

CREATE VIEW amop.latest_staged_device AS
SELECT DISTINCT ON (run_id, iccid)
    run_id,
    iccid,
    scan_pass,
    page_number,
    row_number,
    status,
    rate_plan,
    communication_plan
FROM amop.device_staging
ORDER BY run_id ASC, iccid ASC, scan_pass DESC, page_number DESC, row_number DESC;
COMMENT ON VIEW amop.latest_staged_device IS 'The row of each staged SIM that counts: the last one read in its run.';

CREATE TABLE amop.device_detail_staging (
    run_id bigint NOT NULL,
    iccid text NOT NULL,
    imsi text,
    msisdn text,
    imei text,
    date_activated timestamptz,
    received_at timestamptz NOT NULL,
    PRIMARY KEY (run_id, iccid)
);
COMMENT ON TABLE amop.device_detail_staging IS 'Valid details of single SIMs.';

CREATE TABLE amop.device_usage_to_process (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    run_id bigint NOT NULL REFERENCES amop.device_sync_run ON DELETE CASCADE,
    kind text NOT NULL CHECK (kind IN ('device_list', 'rate_plan_usage', 'device_usage', 'device_details')),
    rate_plan_code text NOT NULL DEFAULT '',
    rate_plan_version integer NOT NULL DEFAULT 0,
    usage_type text NOT NULL DEFAULT '' CHECK (usage_type IN ('', 'DATA', 'SMS', 'VOICE')),
    iccid text NOT NULL DEFAULT '',
    page_number integer NOT NULL DEFAULT 1,
    scan_pass smallint NOT NULL DEFAULT 1,
    UNIQUE (run_id, kind, rate_plan_code, rate_plan_version, usage_type, iccid)
);
COMMENT ON TABLE amop.device_usage_to_process IS
'Work rows: calls that a run has still to make. Fields that a kind does not use are empty or 0.';
COMMENT ON COLUMN amop.device_usage_to_process.page_number IS 'Next page to read.';

CREATE TABLE amop.device_usage_processed (
    run_id bigint NOT NULL REFERENCES amop.device_sync_run ON DELETE CASCADE,
    kind text NOT NULL,
    rate_plan_code text NOT NULL DEFAULT '',
    rate_plan_version integer NOT NULL DEFAULT 0,
    usage_type text NOT NULL DEFAULT '',
    iccid text NOT NULL DEFAULT '',
    pages integer NOT NULL,
    processed_at timestamptz NOT NULL,
    PRIMARY KEY (run_id, kind, rate_plan_code, rate_plan_version, usage_type, iccid)
);
COMMENT ON TABLE amop.device_usage_processed IS 'Ledger of the work rows: those that are done.';

CREATE TABLE amop.device_usage_staging (
    run_id bigint NOT NULL,
    iccid text NOT NULL,
    usage_type text NOT NULL CHECK (usage_type IN ('DATA', 'SMS', 'VOICE', 'SESSIONS')),
    rate_plan_code text NOT NULL,
    rate_plan_version integer NOT NULL,
    page_number integer NOT NULL,
    row_number integer NOT NULL,
    usage bigint NOT NULL CHECK (usage >= 0),
    received_at timestamptz NOT NULL,
    zone text NOT NULL DEFAULT '',
    PRIMARY KEY (run_id, iccid, usage_type, rate_plan_code, rate_plan_version, page_number, row_number)
);
COMMENT ON TABLE amop.device_usage_staging IS 'Valid usage records; zones and plan versions of one SIM add up.';
COMMENT ON COLUMN amop.device_usage_staging.usage IS
'Cycle to date: bytes (DATA), messages (SMS), seconds (VOICE) or sessions (SESSIONS).';

CREATE TABLE amop.device_quarantine (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    run_id bigint NOT NULL REFERENCES amop.device_sync_run ON DELETE CASCADE,
    kind text NOT NULL CHECK (kind IN ('device', 'usage')),
    record_key text NOT NULL,
    raw jsonb NOT NULL,
    reason text NOT NULL,
    quarantined_at timestamptz NOT NULL DEFAULT now(),
    iccid text,
    source text CHECK (source IN ('device_list', 'rate_plan_usage', 'device_usage', 'refusal')),
    usage_type text,
    rate_plan_code text,
    rate_plan_version integer,
    scan_pass smallint,
    page_number integer,
    row_number integer,
    is_exact boolean NOT NULL DEFAULT true,
    resolved_at timestamptz,
    resolution text,
    UNIQUE (run_id, kind, record_key)
);
CREATE INDEX device_quarantine_open ON amop.device_quarantine (run_id, kind) WHERE resolved_at IS NULL;
COMMENT ON TABLE amop.device_quarantine IS 'Records of the carrier that cannot be used, as received, with the reason.';
COMMENT ON COLUMN amop.device_quarantine.record_key IS 'Identifies the record within the run, also without an ICCID.';
COMMENT ON COLUMN amop.device_quarantine.is_exact IS
'False where raw had to be altered to be stored (NUL, half a surrogate pair, too deep); it cannot be retried.';
COMMENT ON COLUMN amop.device_quarantine.resolved_at IS
'When the record was merged after a retry, or superseded; null = open.';

CREATE TABLE amop.device_missing (
    device_id bigint PRIMARY KEY REFERENCES amop.device ON DELETE CASCADE,
    run_id bigint NOT NULL,
    missing_since timestamptz NOT NULL
);
COMMENT ON TABLE amop.device_missing IS
'Active SIMs that the latest complete full list did not name. The run is the one that missed them first.';

CREATE TABLE amop.carrier_api_user (
    api_user text PRIMARY KEY,
    recent_calls timestamptz[] NOT NULL DEFAULT '{}',
    blocked_until timestamptz,
    failures integer NOT NULL DEFAULT 0 CHECK (failures >= 0),
    failing_since timestamptz,
    open_until timestamptz,
    last_failure text
);
COMMENT ON TABLE amop.carrier_api_user IS
'One row per API user of a carrier: the ends of its latest calls, so that the vendor''s limit holds across processes.';
COMMENT ON COLUMN amop.carrier_api_user.api_user IS 'Hash of the API user''s name.';
COMMENT ON COLUMN amop.carrier_api_user.blocked_until IS 'No call before this moment: the carrier asked for a pause.';
COMMENT ON COLUMN amop.carrier_api_user.failures IS 'Consecutive failures of the carrier.';
COMMENT ON COLUMN amop.carrier_api_user.failing_since IS 'When the consecutive failures began; null = none.';
COMMENT ON COLUMN amop.carrier_api_user.open_until IS
'Circuit breaker: no process calls before this moment; the first call after it is the probe. Null = closed.';

CREATE TABLE amop.carrier_page (
    run_id bigint NOT NULL REFERENCES amop.device_sync_run,
    kind text NOT NULL CHECK (kind IN ('device_list', 'rate_plan_usage', 'device_usage', 'device_details')),
    scan_pass smallint NOT NULL DEFAULT 1,
    rate_plan_code text NOT NULL DEFAULT '',
    rate_plan_version integer NOT NULL DEFAULT 0,
    usage_type text NOT NULL DEFAULT '',
    iccid text NOT NULL DEFAULT '',
    page_number integer NOT NULL DEFAULT 1,
    is_refusal boolean NOT NULL DEFAULT false,
    received_at timestamptz NOT NULL,
    document bytea NOT NULL,
    PRIMARY KEY (run_id, kind, scan_pass, rate_plan_code, rate_plan_version, usage_type, iccid, page_number)
);
ALTER TABLE amop.carrier_page ALTER COLUMN document SET STORAGE EXTERNAL;
COMMENT ON TABLE amop.carrier_page IS
'Answers of the carrier as received, written with the ledger and deleted when the archive has them.';
COMMENT ON COLUMN amop.carrier_page.document IS 'JSON, compressed with gzip.';
COMMENT ON COLUMN amop.carrier_page.is_refusal IS 'True: the carrier answered with a final error.';

CREATE TABLE amop.device_history (
    device_id bigint NOT NULL REFERENCES amop.device,
    valid_from date NOT NULL,
    as_of timestamptz NOT NULL,
    status text,
    rate_plan text,
    communication_plan text,
    PRIMARY KEY (device_id, valid_from)
);
COMMENT ON TABLE amop.device_history IS
'A SIM as the carrier listed it, from one local day until the next row; written only when something differs.';

CREATE VIEW amop.device_usage_to_date AS
SELECT
    usage.device_id,
    usage.usage_date,
    usage.billing_period_id,
    usage.as_of,
    coalesce(usage.ctd_data_usage, upto.data_usage) AS data_usage,
    coalesce(usage.ctd_sms_usage, upto.sms_usage) AS sms_usage,
    coalesce(usage.ctd_voice_usage, upto.voice_usage) AS voice_usage
FROM amop.device_usage AS usage
LEFT JOIN
    LATERAL (
        SELECT
            sum(earlier.data_usage)::bigint AS data_usage,
            sum(earlier.sms_usage)::bigint AS sms_usage,
            sum(earlier.voice_usage)::bigint AS voice_usage
        FROM amop.device_usage AS earlier
        WHERE
            usage.ctd_data_usage IS NULL
            AND earlier.device_id = usage.device_id
            AND earlier.billing_period_id = usage.billing_period_id
            AND earlier.usage_date <= usage.usage_date
    ) AS upto ON true;
COMMENT ON VIEW amop.device_usage_to_date IS 'The carrier''s counters of a SIM at the end of each day that has usage.';

CREATE FUNCTION amop.usage_since(counter bigint, counter_before bigint)
RETURNS bigint
LANGUAGE sql IMMUTABLE
AS $$
    SELECT CASE WHEN counter >= counter_before THEN counter - counter_before ELSE counter END
$$;
COMMENT ON FUNCTION amop.usage_since IS
'Usage between two readings of a counter. A counter that went down has restarted: all of it is new usage.';
