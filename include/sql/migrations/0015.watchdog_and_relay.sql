-- Purpose: signs of life of a device sync run apart from its progress, since when the watchdog has been watching, and
--   which relay run reported a message that AMOP refused.
-- Parameters: none.
-- Locks: ACCESS EXCLUSIVE on device_sync_run and amop_outbox for a moment; no row is rewritten.
-- Repeatable: the migration ledger applies it once; every file is one transaction.
ALTER TABLE amop.device_sync_run ADD COLUMN heartbeat_at timestamptz;
COMMENT ON COLUMN amop.device_sync_run.heartbeat_at IS
'Latest sign of life of a task that works on this run; progress_at only moves when something is staged.';

ALTER TABLE amop.amop_outbox ADD COLUMN reported_in text;
COMMENT ON COLUMN amop.amop_outbox.reported_in IS
'Run of amop_relay that failed because of this dead message, so that one dead message fails one run.';
CREATE INDEX amop_outbox_dead ON amop.amop_outbox (id) WHERE state = 'dead';

CREATE TABLE amop.watchdog (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    looked_at timestamptz NOT NULL,
    watching_since timestamptz NOT NULL
);
COMMENT ON TABLE amop.watchdog IS
'One row: the watchdog''s latest look, and since when it has looked without a gap. Silence counts from there on only.';
