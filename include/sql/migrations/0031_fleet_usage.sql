-- Purpose: the total usage of a provider's fleet as its runs have read it, to judge a billing period by earlier ones.
-- Parameters: none.
-- Locks: device_sync_run, for the foreign key, and service_provider, briefly.
-- Repeatable: the migration ledger applies it once; every file is one transaction.
CREATE TABLE amop.fleet_usage (
    run_id bigint NOT NULL REFERENCES amop.device_sync_run ON DELETE CASCADE,
    usage_type text NOT NULL CHECK (usage_type IN ('DATA', 'SMS', 'VOICE')),
    sim_count integer NOT NULL,
    used_count integer NOT NULL,
    total numeric NOT NULL,
    PRIMARY KEY (run_id, usage_type)
);
COMMENT ON TABLE amop.fleet_usage IS
'Usage of the fleet since its billing period began, as a run read it, by usage type; a provider''s first run has none.';
COMMENT ON COLUMN amop.fleet_usage.sim_count IS 'Active SIMs known before the run whose usage of that type it read.';
COMMENT ON COLUMN amop.fleet_usage.used_count IS 'Of them those with usage.';
COMMENT ON COLUMN amop.fleet_usage.total IS
'Their usage without the two SIMs that used most: bytes, messages or seconds.';

COMMENT ON COLUMN amop.service_provider.maximum_usage_factor IS
'The total usage of the fleet may be at most this many times, and at least this part of, what its history suggests; more
between billing periods ([total usage](reference-file.md#total-usage)).';
COMMENT ON COLUMN amop.service_provider.warning_usage_factor IS
'Factor between the total usage of the fleet and its history above which the run has a warning; larger between billing
periods ([total usage](reference-file.md#total-usage)).';
