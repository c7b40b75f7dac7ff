-- Purpose: nightly findings of a provider's SIMs and pools, with their money and who dismissed them; changes of IMEI.
-- Parameters: none.
-- Locks: creates new objects only.
-- Repeatable: the migration ledger applies it once; every file is one transaction.
CREATE TABLE amop.finding (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    service_provider_id bigint NOT NULL REFERENCES amop.service_provider,
    kind text NOT NULL CHECK (
        kind IN (
            'usage_spike', 'pool_over', 'no_usage', 'imei_changed', 'plan_changed', 'ineligible_plan',
            'unknown_activation'
        )
    ),
    subject text NOT NULL,
    occurrence text NOT NULL,
    device_id bigint REFERENCES amop.device,
    amount numeric(24, 6) NOT NULL,
    facts jsonb NOT NULL,
    first_found_at timestamptz NOT NULL,
    last_found_at timestamptz NOT NULL,
    dismissed_at timestamptz,
    dismissed_by text,
    UNIQUE (service_provider_id, kind, subject, occurrence),
    CHECK ((dismissed_at IS NULL) = (dismissed_by IS NULL))
);
COMMENT ON TABLE amop.finding IS
'What the latest check of a provider found, the most money first, and what users dismissed.';
COMMENT ON COLUMN amop.finding.subject IS 'ICCID of the SIM, or name of the pool.';
COMMENT ON COLUMN amop.finding.occurrence IS
'Tells one occurrence from another: a dismissed finding stays dismissed until it occurs anew.';
COMMENT ON COLUMN amop.finding.amount IS 'Money to the end of the open billing period; what it is depends on the kind.';
COMMENT ON COLUMN amop.finding.facts IS 'Figures of the finding by name; which ones depends on the kind.';

CREATE TABLE amop.finding_check (
    service_provider_id bigint PRIMARY KEY REFERENCES amop.service_provider,
    run_id bigint NOT NULL,
    checked_at timestamptz NOT NULL,
    totals jsonb NOT NULL
);
COMMENT ON TABLE amop.finding_check IS 'The latest check of each provider.';
COMMENT ON COLUMN amop.finding_check.run_id IS 'The sync run whose devices and usage were checked.';
COMMENT ON COLUMN amop.finding_check.totals IS
'Number and money of all that was found, by kind: amop.finding has the part with the most money.';

CREATE TABLE amop.device_imei_change (
    device_id bigint NOT NULL REFERENCES amop.device,
    changed_at timestamptz NOT NULL,
    from_imei text NOT NULL,
    to_imei text NOT NULL,
    PRIMARY KEY (device_id, changed_at)
);
CREATE INDEX device_imei_change_changed_at ON amop.device_imei_change (changed_at);
COMMENT ON TABLE amop.device_imei_change IS
'Changes of the equipment that a SIM is in, as the details of the carrier show them.';
COMMENT ON COLUMN amop.device_imei_change.changed_at IS 'When a sync saw it first.';

CREATE FUNCTION amop.overage_cost(usage_mb numeric, allowance_mb numeric, block_mb numeric, block_rate numeric)
RETURNS numeric
LANGUAGE sql IMMUTABLE
AS $$
    SELECT CASE
        WHEN usage_mb > allowance_mb AND block_mb > 0 THEN ceil((usage_mb - allowance_mb) / block_mb) * block_rate
        ELSE 0
    END
$$;
COMMENT ON FUNCTION amop.overage_cost IS 'Money for usage above an allowance, in whole blocks.';
