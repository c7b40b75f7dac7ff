-- Purpose: devices, their usage, the runs of the device sync with ledger, staging, work rows and quarantine.
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

CREATE TABLE amop.device_usage (
    device_id bigint NOT NULL REFERENCES amop.device,
    usage_date date NOT NULL,
    billing_period_id bigint NOT NULL REFERENCES amop.billing_period,
    data_usage bigint NOT NULL CHECK (data_usage >= 0),
    sms_usage bigint NOT NULL CHECK (sms_usage >= 0),
    voice_usage bigint NOT NULL CHECK (voice_usage >= 0),
    PRIMARY KEY (device_id, usage_date, billing_period_id)
);

CREATE TABLE amop.device_sync_run (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    service_provider_id bigint NOT NULL REFERENCES amop.service_provider,
    dag_id text NOT NULL,
    dag_run_id text NOT NULL,
    attempt integer NOT NULL DEFAULT 1,
    status text NOT NULL DEFAULT 'running' CHECK (status IN ('running', 'complete', 'failed', 'refused')),
    billing_period_id bigint NOT NULL REFERENCES amop.billing_period,
    optimization_session_id bigint,
    is_full boolean NOT NULL,
    modified_since timestamptz,
    scan_pass smallint NOT NULL DEFAULT 1,
    scan_first_page integer NOT NULL DEFAULT 1,
    scan_duplicates text NOT NULL DEFAULT '',
    list_is_complete boolean NOT NULL DEFAULT false,
    list_is_exact boolean NOT NULL DEFAULT false,
    pages integer NOT NULL DEFAULT 0,
    devices_seen integer NOT NULL DEFAULT 0,
    work_rows_queued integer NOT NULL DEFAULT 0,
    devices_inserted integer NOT NULL DEFAULT 0,
    devices_updated integer NOT NULL DEFAULT 0,
    devices_vanished integer NOT NULL DEFAULT 0,
    usage_updated integer NOT NULL DEFAULT 0,
    devices_merged_at timestamptz,
    usage_merged_at timestamptz,
    usage_as_of timestamptz,
    progress_at timestamptz NOT NULL DEFAULT now(),
    summary jsonb,
    notification_sent_at timestamptz,
    started_at timestamptz NOT NULL DEFAULT now(),
    ended_at timestamptz,
    error text,
    UNIQUE (dag_id, dag_run_id, service_provider_id)
);

CREATE UNIQUE INDEX device_sync_run_one_running ON amop.device_sync_run (service_provider_id) WHERE status = 'running';

CREATE TABLE amop.device_sync_page (
    run_id bigint NOT NULL REFERENCES amop.device_sync_run ON DELETE CASCADE,
    scan_pass smallint NOT NULL,
    page_number integer NOT NULL,
    device_count integer NOT NULL,
    is_last_page boolean NOT NULL,
    received_at timestamptz NOT NULL,
    PRIMARY KEY (run_id, scan_pass, page_number)
);

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

CREATE TABLE amop.device_usage_to_process (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    run_id bigint NOT NULL REFERENCES amop.device_sync_run ON DELETE CASCADE,
    kind text NOT NULL CHECK (kind IN ('device_list', 'rate_plan_usage', 'device_usage', 'device_details')),
    rate_plan_code text NOT NULL DEFAULT '',
    rate_plan_version integer NOT NULL DEFAULT 0,
    usage_type text NOT NULL DEFAULT '' CHECK (usage_type IN ('', 'DATA', 'SMS', 'VOICE')),
    iccid text NOT NULL DEFAULT '',
    page_number integer NOT NULL DEFAULT 1,
    UNIQUE (run_id, kind, rate_plan_code, rate_plan_version, usage_type, iccid)
);

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
    PRIMARY KEY (run_id, iccid, usage_type, rate_plan_code, rate_plan_version, page_number, row_number)
);

CREATE TABLE amop.device_quarantine (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    run_id bigint NOT NULL REFERENCES amop.device_sync_run ON DELETE CASCADE,
    kind text NOT NULL CHECK (kind IN ('device', 'usage')),
    record_key text NOT NULL,
    raw jsonb NOT NULL,
    reason text NOT NULL,
    quarantined_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (run_id, kind, record_key)
);

CREATE TABLE amop.carrier_api_user (
    api_user text PRIMARY KEY,
    recent_calls timestamptz[] NOT NULL DEFAULT '{}',
    blocked_until timestamptz
);
COMMENT ON TABLE amop.carrier_api_user IS
'One row per API user of a carrier: the ends of its latest calls, so that the vendor''s limit holds across processes.';
