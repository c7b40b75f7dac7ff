-- Purpose: start the clean-up by queue messages: the integrations' numbers in the existing system, the messages that
--   were received, and work rows with a retry count or a deleted flag.
-- Parameters: none.
-- Locks: integration and device_usage_to_process, exclusively and briefly; creates new objects.
-- Repeatable: the migration ledger applies it once; every file is one transaction.
ALTER TABLE amop.integration
ADD COLUMN integration_type integer,
-- Checked at the end of the transaction, so that one load may exchange the numbers of two integrations.
ADD CONSTRAINT integration_integration_type_key UNIQUE (integration_type) DEFERRABLE INITIALLY DEFERRED;
COMMENT ON COLUMN amop.integration.integration_type IS
'Number of the integration in the existing system, as its queue messages carry it; null = not in the reference file.';

-- Integrations without a client: the existing system syncs them, and their staging may be merged here.
INSERT INTO amop.integration (id, name, display_name, family, portal_type_id, daily_sync_key, supports_optimization)
VALUES
(5, 'thingspace', 'Verizon ThingSpace', 'thingspace', 0, 'thingspace_devices', false),
(6, 'teal', 'Teal', 'teal', 0, 'teal_devices', false),
(7, 'pond', 'Pond', 'pond', 0, 'pond_inventories', false),
(8, 'telegence', 'AT&T Telegence', 'telegence', 2, 'telegence_devices', false),
(9, 'ebonding', 'AT&T eBonding', 'ebonding', 2, 'ebonding_devices', false);

ALTER TABLE amop.device_usage_to_process
ADD COLUMN retry_count integer NOT NULL DEFAULT 0 CHECK (retry_count >= 0),
ADD COLUMN is_deleted boolean NOT NULL DEFAULT false;
COMMENT ON COLUMN amop.device_usage_to_process.retry_count IS
'Failed tries, in the families whose count rule limits them (docs/staging-contract.md).';
COMMENT ON COLUMN amop.device_usage_to_process.is_deleted IS
'True: done, in the families that mark a work row instead of deleting it (docs/staging-contract.md).';

CREATE TABLE amop.queue_message (
    message_id text PRIMARY KEY,
    dag_run_id text NOT NULL,
    outcome text NOT NULL CHECK (outcome IN ('started', 'ignored', 'rejected')),
    reason text,
    run_id bigint REFERENCES amop.device_sync_run ON DELETE CASCADE,
    max_tries integer,
    delay_seconds integer,
    should_optimize boolean NOT NULL DEFAULT false,
    attributes jsonb NOT NULL,
    body text NOT NULL,
    deliveries integer NOT NULL DEFAULT 1,
    received_at timestamptz NOT NULL,
    last_received_at timestamptz NOT NULL,
    removed_at timestamptz,
    CHECK ((outcome = 'started') = (run_id IS NOT NULL AND max_tries IS NOT NULL AND delay_seconds IS NOT NULL))
);
CREATE UNIQUE INDEX queue_message_of_run ON amop.queue_message (run_id);
CREATE INDEX queue_message_of_dag_run ON amop.queue_message (dag_run_id);
COMMENT ON TABLE amop.queue_message IS
'Messages of the device notification queue that were received, one row each: a redelivery has no second effect.';
COMMENT ON COLUMN amop.queue_message.message_id IS 'Id that SQS gave the message; the same on every delivery.';
COMMENT ON COLUMN amop.queue_message.dag_run_id IS 'Run of DAG device_notification that received it first.';
COMMENT ON COLUMN amop.queue_message.outcome IS
'started = a clean-up waits for run_id; ignored = nothing to do; rejected = unusable, in the dead-letter queue.';
COMMENT ON COLUMN amop.queue_message.reason IS 'Why the message was ignored or rejected.';
COMMENT ON COLUMN amop.queue_message.max_tries IS 'Polls of the clean-up before the wait fails, delay_seconds apart.';
COMMENT ON COLUMN amop.queue_message.should_optimize IS 'Flag ShouldQueueCarrierOptimization of the message.';
COMMENT ON COLUMN amop.queue_message.removed_at IS 'When the message was deleted from the queue; null = not yet.';
