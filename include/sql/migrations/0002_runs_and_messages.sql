-- Purpose: optimization sessions, device sync runs, the outbox of messages to AMOP, and the watchdog's state.
-- Parameters: none.
-- Locks: creates new objects only.
-- Repeatable: the migration ledger applies it once; every file is one transaction.
CREATE TABLE amop.optimization_session (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    session_guid uuid NOT NULL UNIQUE DEFAULT gen_random_uuid(),
    service_provider_id bigint NOT NULL REFERENCES amop.service_provider,
    billing_period_id bigint NOT NULL REFERENCES amop.billing_period,
    status text NOT NULL DEFAULT 'running' CHECK (status IN ('running', 'complete', 'failed', 'cancelled')),
    progress smallint NOT NULL DEFAULT 0 CHECK (progress IN (0, 20, 30, 40, 50, 100)),
    error text,
    opened_by text NOT NULL,
    started_at timestamptz NOT NULL DEFAULT now(),
    heartbeat_at timestamptz NOT NULL DEFAULT now(),
    ended_at timestamptz
);
CREATE UNIQUE INDEX optimization_session_one_running
ON amop.optimization_session (service_provider_id) WHERE status = 'running';
CREATE UNIQUE INDEX optimization_session_opened_by ON amop.optimization_session (service_provider_id, opened_by);
COMMENT ON TABLE amop.optimization_session IS
'Optimization sessions as AMOP sees them. A provider has one running session at most.';
COMMENT ON COLUMN amop.optimization_session.progress IS 'Percent, as last reported to AMOP.';
COMMENT ON COLUMN amop.optimization_session.opened_by IS
'Key of what opened the session, such as a DAG run: a retry finds its session by it.';
COMMENT ON COLUMN amop.optimization_session.heartbeat_at IS 'Latest heartbeat of a task that works on the session.';

CREATE TABLE amop.device_sync_run (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    service_provider_id bigint NOT NULL REFERENCES amop.service_provider,
    dag_id text NOT NULL,
    dag_run_id text NOT NULL,
    attempt integer NOT NULL DEFAULT 1,
    status text NOT NULL DEFAULT 'running' CHECK (status IN ('running', 'complete', 'failed', 'refused')),
    billing_period_id bigint NOT NULL REFERENCES amop.billing_period,
    optimization_session_id bigint REFERENCES amop.optimization_session,
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
    allows_mass_deactivation boolean NOT NULL DEFAULT false,
    devices_missing integer NOT NULL DEFAULT 0,
    archived_at timestamptz,
    staging_removed_at timestamptz,
    replayed_run_id bigint,
    heartbeat_at timestamptz,
    UNIQUE (dag_id, dag_run_id, service_provider_id)
);
CREATE UNIQUE INDEX device_sync_run_one_running
ON amop.device_sync_run (service_provider_id) WHERE status = 'running' AND replayed_run_id IS NULL;
COMMENT ON TABLE amop.device_sync_run IS
'Device sync runs, one per provider and DAG run. A provider has one running run at most, replays apart.';
COMMENT ON COLUMN amop.device_sync_run.attempt IS 'Number of times that the run was opened: 1, and 1 for each clear.';
COMMENT ON COLUMN amop.device_sync_run.is_full IS 'True: the full device list is read; false: the SIMs modified since.';
COMMENT ON COLUMN amop.device_sync_run.scan_pass IS 'Number of the current pass over the device list, from 1.';
COMMENT ON COLUMN amop.device_sync_run.scan_first_page IS 'First page that the current pass reads.';
COMMENT ON COLUMN amop.device_sync_run.scan_duplicates IS
'Fingerprint of the duplicate SIMs of the previous pass; the same again means that they are permanent.';
COMMENT ON COLUMN amop.device_sync_run.list_is_exact IS
'True: no SIM can be missing from the list, so that it may deactivate SIMs.';
COMMENT ON COLUMN amop.device_sync_run.pages IS 'Pages of the carrier that were staged.';
COMMENT ON COLUMN amop.device_sync_run.devices_seen IS 'Distinct ICCIDs of the device list.';
COMMENT ON COLUMN amop.device_sync_run.devices_missing IS
'SIMs that this run''s complete full list did not name and that are still active: the next such list decides.';
COMMENT ON COLUMN amop.device_sync_run.usage_as_of IS
'When the device list was complete; the usage that is read next counts as of then. Never after the billing period.';
COMMENT ON COLUMN amop.device_sync_run.progress_at IS 'When something was last staged or merged.';
COMMENT ON COLUMN amop.device_sync_run.heartbeat_at IS
'Latest heartbeat of a task that works on this run; progress_at only moves when something is staged.';
COMMENT ON COLUMN amop.device_sync_run.replayed_run_id IS
'Not null: this run replays the archive of that run into history; it never called the carrier nor touched a SIM.';
COMMENT ON COLUMN amop.device_sync_run.staging_removed_at IS
'Not null: retention has deleted the staging of this run; a failed run can no longer resume.';

CREATE TABLE amop.amop_outbox (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind text NOT NULL CHECK (kind IN ('progress', 'error', 'daily_sync')),
    session_id bigint REFERENCES amop.optimization_session,
    dedupe_key text NOT NULL UNIQUE,
    payload jsonb NOT NULL,
    state text NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'sent', 'dead')),
    attempts integer NOT NULL DEFAULT 0,
    next_attempt_at timestamptz NOT NULL DEFAULT now(),
    last_error text,
    created_at timestamptz NOT NULL DEFAULT now(),
    sent_at timestamptz,
    reported_in text
);
CREATE INDEX amop_outbox_pending ON amop.amop_outbox (session_id, id) WHERE state = 'pending';
CREATE INDEX amop_outbox_dead ON amop.amop_outbox (id) WHERE state = 'dead';
COMMENT ON TABLE amop.amop_outbox IS
'Messages to AMOP, committed with the change that they report; sent in order within a session, at least once.';
COMMENT ON COLUMN amop.amop_outbox.dedupe_key IS 'Idempotency-Key of the request, the same on every retry.';
COMMENT ON COLUMN amop.amop_outbox.reported_in IS
'Run of amop_relay that failed because of this dead-lettered message; each fails one run only.';

CREATE TABLE amop.watchdog (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    checked_at timestamptz NOT NULL,
    watching_since timestamptz NOT NULL
);
COMMENT ON TABLE amop.watchdog IS
'One row: the watchdog''s latest check, and since when it has checked without a gap. Runs and sessions are stale only
when their heartbeat is missing for that time as well.';
COMMENT ON COLUMN amop.watchdog.checked_at IS 'The latest check.';
