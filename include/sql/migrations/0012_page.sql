-- Purpose: what the operators' page needs: the currency of a provider's amounts, and indexes for its views.
-- Parameters: none.
-- Locks: service_provider, exclusively and briefly; the indexed tables against writing while an index is built.
-- Repeatable: the migration ledger applies it once; every file is one transaction.
ALTER TABLE amop.service_provider
ADD COLUMN currency text NOT NULL DEFAULT 'USD' CHECK (currency ~ '^[A-Z]{3}$');
COMMENT ON COLUMN amop.service_provider.currency IS 'ISO 4217 code of the prices of its rate plans, such as USD.';

CREATE INDEX device_sync_run_of_provider ON amop.device_sync_run (service_provider_id, started_at);
CREATE INDEX optimization_session_of_provider ON amop.optimization_session (service_provider_id, id);
CREATE INDEX amop_outbox_of_session ON amop.amop_outbox (session_id, id);
CREATE INDEX rate_plan_change_of_device ON amop.rate_plan_change (device_id);
CREATE INDEX device_quarantine_of_sim ON amop.device_quarantine (iccid) WHERE iccid IS NOT NULL;

-- A SIM is searched for by the first characters of any of its numbers. None of them changes with a sync, so that the
-- updates of counters stay heap-only.
CREATE INDEX device_iccid_prefix ON amop.device (iccid text_pattern_ops);
CREATE INDEX device_imsi_prefix ON amop.device (imsi text_pattern_ops) WHERE imsi IS NOT NULL;
CREATE INDEX device_msisdn_prefix ON amop.device (msisdn text_pattern_ops) WHERE msisdn IS NOT NULL;
CREATE INDEX device_imei_prefix ON amop.device (imei text_pattern_ops) WHERE imei IS NOT NULL;
