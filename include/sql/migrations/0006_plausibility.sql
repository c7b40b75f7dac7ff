-- Purpose: plausibility limits of a provider, warnings of a sync run, windows and gaps of a device list, and the
--   backlog of SIM details.
-- Parameters: none.
-- Locks: the altered tables, for an instant.
-- Repeatable: the migration ledger applies it once; every file is one transaction.
ALTER TABLE amop.service_provider
ADD COLUMN maximum_unlisted_share numeric NOT NULL DEFAULT 0.20 CHECK (maximum_unlisted_share BETWEEN 0 AND 1),
ADD COLUMN warning_unlisted_share numeric NOT NULL DEFAULT 0.05 CHECK (warning_unlisted_share BETWEEN 0 AND 1),
ADD COLUMN maximum_usage_loss_share numeric NOT NULL DEFAULT 0.10 CHECK (maximum_usage_loss_share BETWEEN 0 AND 1),
ADD COLUMN warning_usage_loss_share numeric NOT NULL DEFAULT 0.02 CHECK (warning_usage_loss_share BETWEEN 0 AND 1),
ADD COLUMN maximum_value_loss_share numeric NOT NULL DEFAULT 0.10 CHECK (maximum_value_loss_share BETWEEN 0 AND 1),
ADD COLUMN warning_value_loss_share numeric NOT NULL DEFAULT 0.02 CHECK (warning_value_loss_share BETWEEN 0 AND 1),
ADD COLUMN maximum_usage_factor numeric NOT NULL DEFAULT 4 CHECK (maximum_usage_factor >= 1),
ADD COLUMN warning_usage_factor numeric NOT NULL DEFAULT 2 CHECK (warning_usage_factor >= 1),
ADD COLUMN maximum_price_factor numeric NOT NULL DEFAULT 2 CHECK (maximum_price_factor >= 1);
COMMENT ON COLUMN amop.service_provider.maximum_price_factor IS
'A price or size in a reference file may be at most this many times, and at least this part of, the stored one.';
COMMENT ON COLUMN amop.service_provider.maximum_unlisted_share IS
'Largest share of the active SIMs (0 to 1) that may be missing from a full list for the first time; more refuses it.';
COMMENT ON COLUMN amop.service_provider.warning_unlisted_share IS
'Share of the active SIMs (0 to 1) missing from a full list above which the run has a warning.';
COMMENT ON COLUMN amop.service_provider.maximum_usage_loss_share IS
'Largest share (0 to 1) of the SIMs with usage in the cycle that may be without usage now; more refuses the run.';
COMMENT ON COLUMN amop.service_provider.warning_usage_loss_share IS
'Share (0 to 1) of the SIMs with usage in the cycle that are without usage now, above which the run has a warning.';
COMMENT ON COLUMN amop.service_provider.maximum_value_loss_share IS
'Largest share of the SIMs (0 to 1) whose status, rate plan or communication plan may turn null or unknown; each of
the three is judged for itself.';
COMMENT ON COLUMN amop.service_provider.warning_value_loss_share IS
'Share of the SIMs (0 to 1) whose status, rate plan or communication plan turned null or unknown, or that are new
without one, above which the run has a warning.';
COMMENT ON COLUMN amop.service_provider.maximum_usage_factor IS
'The total usage of the fleet may be at most this many times, and at least this part of, what its history suggests.';
COMMENT ON COLUMN amop.service_provider.warning_usage_factor IS
'Factor between the total usage of the fleet and its history above which the run has a warning.';

ALTER TABLE amop.device_sync_run
ADD COLUMN allows_implausible boolean NOT NULL DEFAULT false,
ADD COLUMN warnings text[] NOT NULL DEFAULT '{}',
ADD COLUMN list_is_whole boolean NOT NULL DEFAULT true;
COMMENT ON COLUMN amop.device_sync_run.allows_implausible IS
'True: an operator lets this run pass above the plausibility limits of its provider; it has warnings instead.';
COMMENT ON COLUMN amop.device_sync_run.warnings IS
'Sentences about implausible answers of the carrier with which the run was merged nevertheless.';
COMMENT ON COLUMN amop.device_sync_run.list_is_whole IS
'False: the carrier refuses to list SIMs that were last modified long ago; SIMs outside of the list are not missing.';

ALTER TABLE amop.device_sync_page ADD COLUMN is_gap boolean NOT NULL DEFAULT false;
COMMENT ON COLUMN amop.device_sync_page.is_gap IS
'True: the carrier returned an empty page although later pages have SIMs, in every try; SIMs may be missing.';

CREATE TABLE amop.device_list_window (
    run_id bigint NOT NULL REFERENCES amop.device_sync_run ON DELETE CASCADE,
    window_number integer NOT NULL,
    modified_since timestamptz NOT NULL,
    modified_till timestamptz,
    first_page integer,
    PRIMARY KEY (run_id, window_number)
);
COMMENT ON TABLE amop.device_list_window IS
'Windows of modification dates in which a run reads its device list, oldest first; one without an end, as a rule.';
COMMENT ON COLUMN amop.device_list_window.modified_till IS 'End of the window; null = open.';
COMMENT ON COLUMN amop.device_list_window.first_page IS
'Number of the window''s first page in device_sync_page, where pages are numbered across windows; null = not reached.';

ALTER TABLE amop.device
ADD COLUMN details_tried_at timestamptz,
ADD COLUMN modification_order bigint NOT NULL DEFAULT 0;
COMMENT ON COLUMN amop.device.details_read_at IS
'When the details (activation date, IMSI, MSISDN, IMEI) were last read completely; null = never, or the SIM was
activated since.';
COMMENT ON COLUMN amop.device.details_tried_at IS
'When the details were last asked for, complete or not; null = never.';
COMMENT ON COLUMN amop.device.modification_order IS
'Orders SIMs by when the carrier last modified them: run and place in its list when the row was last written.';

ALTER TABLE amop.device_detail_staging ADD COLUMN is_complete boolean NOT NULL DEFAULT true;
COMMENT ON COLUMN amop.device_detail_staging.is_complete IS
'False: a field is unreadable and quarantined, or the carrier refused the read; the SIM is read again in a later run.';

ALTER TABLE amop.device_quarantine DROP CONSTRAINT device_quarantine_source_check;
ALTER TABLE amop.device_quarantine ADD CONSTRAINT device_quarantine_source_check
CHECK (source IN ('device_list', 'device_details', 'rate_plan_usage', 'device_usage', 'refusal'));
