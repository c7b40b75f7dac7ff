-- Purpose: find the messages that may be sent, and the dead-lettered ones of a session, by index; a refused run of a
--   provider whose billing period cannot be determined.
-- Parameters: none.
-- Locks: amop_outbox and device_sync_run, while their indexes and constraints change.
-- Repeatable: the migration ledger applies it once; every file is one transaction.
CREATE INDEX amop_outbox_next ON amop.amop_outbox (attempts, id) WHERE state = 'pending';
CREATE INDEX amop_outbox_dead_of_session ON amop.amop_outbox (session_id, id) WHERE state = 'dead';

ALTER TABLE amop.device_sync_run
ALTER COLUMN billing_period_id DROP NOT NULL,
ADD CONSTRAINT device_sync_run_has_billing_period CHECK (billing_period_id IS NOT NULL OR status = 'refused');
COMMENT ON COLUMN amop.device_sync_run.billing_period_id IS
'Null only for a refused run of a provider whose billing period could not be determined.';
