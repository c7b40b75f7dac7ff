-- Purpose: the carrier's answers as they came, until the archive has them; history of SIMs and of their counters by
--   day; runs that replay an archived run instead of calling the carrier.
-- Parameters: none.
-- Locks: ACCESS EXCLUSIVE on device_usage and device_sync_run for a moment; no row is rewritten.
-- Repeatable: the migration ledger applies it once; every file is one transaction.
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
'Answers of the carrier as they came (JSON, gzip), written with the ledger; they leave when the archive has them.';

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
'A SIM as the carrier listed it, from one local day on until the next row: written only when something differs.';

ALTER TABLE amop.device_usage
ADD COLUMN ctd_data_usage bigint,
ADD COLUMN ctd_sms_usage bigint,
ADD COLUMN ctd_voice_usage bigint,
ADD COLUMN as_of timestamptz;
COMMENT ON COLUMN amop.device_usage.ctd_data_usage IS
'The carrier''s counter at the end of the day; null in rows older than this column: there the sum up to the day is it.';

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
'Usage between two readings of a counter; one that went down began anew, so that all of it is new.';

ALTER TABLE amop.device_sync_run
ADD COLUMN archived_at timestamptz,
ADD COLUMN staging_removed_at timestamptz,
ADD COLUMN replayed_run_id bigint;
COMMENT ON COLUMN amop.device_sync_run.replayed_run_id IS
'Not null: this run replays the archive of that run into history; it never called the carrier nor touched a SIM.';
COMMENT ON COLUMN amop.device_sync_run.staging_removed_at IS
'Not null: maintenance has removed the staging of this run; a failed one can no longer go on.';

ALTER TABLE amop.billing_period ADD COLUMN usage_removed_at timestamptz;

DROP INDEX amop.device_sync_run_one_running;
CREATE UNIQUE INDEX device_sync_run_one_running
ON amop.device_sync_run (service_provider_id) WHERE status = 'running' AND replayed_run_id IS NULL;
