-- Purpose: the circuit breaker of an API user, SIMs missing from one full list, the override of the mass deactivation
--   guard, where a usage record was read, and the way back of a quarantined record.
-- Parameters: none.
-- Locks: ACCESS EXCLUSIVE on the altered tables for a moment; only device_quarantine is rewritten in part.
-- Repeatable: the migration ledger applies it once; every file is one transaction.
ALTER TABLE amop.carrier_api_user
ADD COLUMN failures integer NOT NULL DEFAULT 0 CHECK (failures >= 0),
ADD COLUMN unwell_since timestamptz,
ADD COLUMN open_until timestamptz,
ADD COLUMN last_failure text;
COMMENT ON COLUMN amop.carrier_api_user.open_until IS
'Circuit breaker: nobody calls before this moment; the first call after it is the probe. Null = closed.';

ALTER TABLE amop.device_sync_run
ADD COLUMN allows_mass_deactivation boolean NOT NULL DEFAULT false,
ADD COLUMN devices_missing integer NOT NULL DEFAULT 0;
COMMENT ON COLUMN amop.device_sync_run.devices_missing IS
'SIMs that this run''s complete full list did not name and that are still active: the next such list decides.';

CREATE TABLE amop.device_missing (
    device_id bigint PRIMARY KEY REFERENCES amop.device ON DELETE CASCADE,
    run_id bigint NOT NULL,
    missing_since timestamptz NOT NULL
);
COMMENT ON TABLE amop.device_missing IS
'Active SIMs that the latest complete full list did not name. The run is the one that missed them first.';

ALTER TABLE amop.device_usage_to_process ADD COLUMN scan_pass smallint NOT NULL DEFAULT 1;

ALTER TABLE amop.device_usage_staging ADD COLUMN zone text NOT NULL DEFAULT '';

ALTER TABLE amop.device_quarantine
ADD COLUMN iccid text,
ADD COLUMN source text CHECK (source IN ('device_list', 'rate_plan_usage', 'device_usage', 'refusal')),
ADD COLUMN usage_type text,
ADD COLUMN rate_plan_code text,
ADD COLUMN rate_plan_version integer,
ADD COLUMN scan_pass smallint,
ADD COLUMN page_number integer,
ADD COLUMN row_number integer,
ADD COLUMN is_exact boolean NOT NULL DEFAULT true,
ADD COLUMN resolved_at timestamptz,
ADD COLUMN resolution text;
COMMENT ON COLUMN amop.device_quarantine.is_exact IS
'False where raw had to be altered to be stored (NUL, half a surrogate pair, too deep); it cannot be tried again.';

UPDATE amop.device_quarantine
SET iccid = substring(record_key FROM '^[0-9]{18,22}');

CREATE INDEX device_quarantine_open ON amop.device_quarantine (run_id, kind) WHERE resolved_at IS NULL;
