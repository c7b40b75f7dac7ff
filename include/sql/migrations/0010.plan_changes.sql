-- Purpose: what became of the plan changes of an instance: the decision, who took it and why, what was sent to the
--   carrier and what it showed afterwards; and which instance makes an older one's changes stale.
-- Parameters: none.
-- Locks: ACCESS EXCLUSIVE on both tables for a moment; no row is rewritten.
-- Repeatable: the migration ledger applies it once; every file is one transaction.
ALTER TABLE amop.optimization_instance
ADD COLUMN changes_status text CHECK (
    changes_status IN (
        'nothing_to_change', 'proposed_only', 'no_go', 'waiting', 'approved', 'rejected', 'superseded', 'stopped',
        'applied'
    )
),
ADD COLUMN changes_reason text,
ADD COLUMN changes_decided_by text,
ADD COLUMN changes_decided_at timestamptz,
ADD COLUMN changes_deadline timestamptz,
ADD COLUMN changes_planned_by text;
COMMENT ON COLUMN amop.optimization_instance.changes_status IS
'What becomes of the proposed plan changes; null = not planned yet. changes_reason says it in a sentence.';
COMMENT ON COLUMN amop.optimization_instance.changes_deadline IS
'The last moment at which there is time to apply all of them before the billing period ends.';

ALTER TABLE amop.rate_plan_change
ADD COLUMN decided_by text,
ADD COLUMN decided_at timestamptz,
ADD COLUMN sent_at timestamptz,
ADD COLUMN verified_at timestamptz,
ADD COLUMN verified_rate_plan text;
COMMENT ON COLUMN amop.rate_plan_change.sent_at IS
'When the write request went out. An approved change with it is in doubt: the carrier is asked first.';

CREATE INDEX rate_plan_change_open ON amop.rate_plan_change (instance_id) WHERE state IN ('proposed', 'approved');

CREATE FUNCTION amop.newer_instance(older_instance_id bigint)
RETURNS bigint
LANGUAGE sql STABLE
AS $$
    SELECT newer.id
    FROM amop.optimization_instance AS older
    INNER JOIN amop.optimization_session AS older_session ON older.session_id = older_session.id
    INNER JOIN amop.billing_period AS older_period ON older_session.billing_period_id = older_period.id
    INNER JOIN amop.optimization_session AS newer_session
        ON older_session.service_provider_id = newer_session.service_provider_id
    INNER JOIN amop.billing_period AS newer_period ON newer_session.billing_period_id = newer_period.id
    INNER JOIN amop.optimization_instance AS newer ON newer_session.id = newer.session_id
    WHERE
        older.id = older_instance_id
        AND newer.id > older.id
        AND newer.run_status = 'complete_with_success'
        AND newer_period.cycle_end >= older_period.cycle_end
    ORDER BY newer.id DESC
    LIMIT 1
$$;
COMMENT ON FUNCTION amop.newer_instance IS
'The newest completed instance of the same provider for the same billing period or a later one: it makes this stale.';
