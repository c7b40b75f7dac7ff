-- Purpose: optimization sessions, instances, their inputs and results, proposed plan changes, and the AMOP outbox.
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

ALTER TABLE amop.device_sync_run
ADD FOREIGN KEY (optimization_session_id) REFERENCES amop.optimization_session;

CREATE TABLE amop.optimization_instance (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    session_id bigint NOT NULL UNIQUE REFERENCES amop.optimization_session,
    device_count integer NOT NULL DEFAULT 0,
    expected_device_count integer NOT NULL DEFAULT 0,
    unknown_plan_count integer NOT NULL DEFAULT 0,
    unknown_activation_count integer NOT NULL DEFAULT 0,
    usage_as_of timestamptz,
    current_cost numeric(24, 6),
    base_cost numeric(24, 6),
    total_cost numeric(24, 6),
    lower_bound numeric(24, 6),
    savings numeric(24, 6),
    gap numeric,
    certificate jsonb,
    warning text,
    run_status text NOT NULL DEFAULT 'running'
    CHECK (run_status IN ('running', 'complete_with_success', 'complete_with_errors')),
    started_at timestamptz NOT NULL DEFAULT now(),
    ended_at timestamptz
);

CREATE TABLE amop.optimization_comm_group (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    instance_id bigint NOT NULL REFERENCES amop.optimization_instance ON DELETE CASCADE,
    group_key text NOT NULL,
    rate_plan_ids bigint[] NOT NULL,
    communication_plans text[] NOT NULL,
    outcome text CHECK (
        outcome IN ('optimized', 'base_only', 'no_plans', 'no_devices', 'limit_exceeded', 'invalid_plan')
    ),
    device_count integer NOT NULL DEFAULT 0,
    current_cost numeric(24, 6),
    total_cost numeric(24, 6),
    UNIQUE (instance_id, group_key)
);

CREATE TABLE amop.optimization_device (
    instance_id bigint NOT NULL REFERENCES amop.optimization_instance ON DELETE CASCADE,
    device_id bigint NOT NULL REFERENCES amop.device,
    comm_group_id bigint NOT NULL REFERENCES amop.optimization_comm_group ON DELETE CASCADE,
    iccid text NOT NULL,
    current_rate_plan_id bigint REFERENCES amop.carrier_rate_plan,
    usage_mb numeric(24, 6) NOT NULL,
    projected_usage_mb numeric(24, 6) NOT NULL,
    sms_usage bigint NOT NULL,
    days_activated smallint NOT NULL,
    is_prorated boolean NOT NULL,
    base_rate_plan_id bigint REFERENCES amop.carrier_rate_plan,
    solved_rate_plan_id bigint REFERENCES amop.carrier_rate_plan,
    PRIMARY KEY (instance_id, device_id)
);
COMMENT ON TABLE amop.optimization_device IS
'The inputs of an instance as they were at usage_as_of, and its base and solved assignment, one row per eligible SIM.';

CREATE TABLE amop.optimization_device_result (
    instance_id bigint NOT NULL REFERENCES amop.optimization_instance ON DELETE CASCADE,
    device_id bigint NOT NULL REFERENCES amop.device,
    from_rate_plan text,
    to_rate_plan text NOT NULL,
    usage_mb numeric(24, 6) NOT NULL,
    projected_usage_mb numeric(24, 6) NOT NULL,
    from_cost numeric(24, 6) NOT NULL,
    to_cost numeric(24, 6) NOT NULL,
    PRIMARY KEY (instance_id, device_id)
);

CREATE TABLE amop.rate_plan_change (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    instance_id bigint NOT NULL REFERENCES amop.optimization_instance ON DELETE CASCADE,
    device_id bigint NOT NULL REFERENCES amop.device,
    from_rate_plan text,
    to_rate_plan text NOT NULL,
    state text NOT NULL DEFAULT 'proposed'
    CHECK (state IN ('proposed', 'approved', 'rejected', 'applied', 'conflict', 'failed')),
    error text,
    applied_at timestamptz,
    UNIQUE (instance_id, device_id)
);

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
    sent_at timestamptz
);
CREATE INDEX amop_outbox_pending ON amop.amop_outbox (session_id, id) WHERE state = 'pending';
